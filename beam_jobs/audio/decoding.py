"""Reading audio from any file system, by libsndfile or, for formats it does not know, by PyAV."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import soundfile

from beam_jobs.audio.types import PYAV_SUFFIXES, AudioHeader, UnusableAudioError, _AudioFile
from beam_jobs.storage.files import is_remote, open_file
from schemas.pcm import Samples
from schemas.recipe import Channels

# libsndfile's answer (SF_COUNT_MAX) where a header does not state a length.
_UNKNOWN_LENGTH = 2**63 - 1

_MIN_SAMPLE_RATE = 1000

# libsndfile reads a truncated WAV file as far as it goes, and mentions the missing bytes only in
# its log. Programs that write to a pipe can't know the length, and state the greatest possible.
_CUT_OFF = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
_LENGTH_OF_A_PIPE = 0x7FFF0000


def read_header(path: str) -> AudioHeader:
    """Reads the header of a file.

    Where PyAV decodes, headers only estimate the length, so the file is decoded to find it.

    Raises:
        UnusableAudioError: the file is unreadable, in no known format, without audio, or its header
            can't be true.
    """
    with _open(path) as file:
        if not file.frames:
            raise UnusableAudioError("no audio in the file")
        if file.frames == _UNKNOWN_LENGTH:
            raise UnusableAudioError("no length in its header: encode it again")
        if file.samplerate < _MIN_SAMPLE_RATE:
            raise UnusableAudioError(f"sample rate of less than {_MIN_SAMPLE_RATE} Hz")
        cut_off = _CUT_OFF.search(file.extra_info)
        if cut_off and int(cut_off[2]) < int(cut_off[1]) < _LENGTH_OF_A_PIPE:
            raise UnusableAudioError(
                f"ends early: {cut_off[2]} bytes of the {cut_off[1]} that its header promises"
            )
        return AudioHeader(file.samplerate, file.frames, file.channels)


def read_segment(path: str, start: int, stop: int, channels: Channels = "average") -> Samples:
    """Decodes a range of a file.

    Args:
        path: the file.
        start: first frame of the range, at the file's own sample rate.
        stop: frame after the last one.
        channels: `average` mixes down, a number picks one channel, counted from 0, and `stereo`
            keeps two.

    Returns:
        float32 [samples], or [samples, 2] for `stereo`; full scale is 1.

    Raises:
        UnusableAudioError: the file can't be decoded, ends early, lacks the channels, or holds
            samples that are not finite.
    """
    with _open(path) as file:
        if isinstance(channels, int) and channels >= file.channels:
            raise UnusableAudioError(f"no channel {channels}: the file has {file.channels}")
        if channels == "stereo" and file.channels > 2:
            raise UnusableAudioError(f"{file.channels} channels: stereo is made of one or two")
        # Don't seek to frame 0: it makes libsndfile decode FLAC's first block twice.
        if start:
            file.seek(start)
        samples = file.read(stop - start, dtype="float32")
    if len(samples) < stop - start:
        raise UnusableAudioError(
            f"ends early: {start + len(samples)} frames of the {stop} that its header promises"
        )
    if channels == "stereo":
        samples = samples if samples.ndim == 2 else np.stack([samples, samples], axis=1)
    elif samples.ndim == 2:
        samples = samples.mean(axis=1) if channels == "average" else samples[:, channels].copy()
    # One infinity or NaN makes an extreme non-finite; this spares a boolean per sample.
    if not np.isfinite(samples.max(initial=0) - samples.min(initial=0)):
        raise UnusableAudioError("samples that are infinite or not numbers")
    return samples


def read_blocks(path: str, block_frames: int) -> Iterator[Samples]:
    """Decodes a whole file, block by block.

    Yields:
        float32 [frames, channels], full scale is 1; `block_frames` long except for the last.

    Raises:
        UnusableAudioError: as `read_segment`.
    """
    with _open(path) as file:
        num_read = 0
        while num_read < file.frames:
            block = file.read(block_frames, dtype="float32", always_2d=True)
            num_read += len(block)
            if not len(block):
                raise UnusableAudioError(
                    f"ends early: {num_read} frames of the {file.frames} that its header promises"
                )
            if not np.isfinite(block.sum(dtype=np.float64)):
                raise UnusableAudioError("samples that are infinite or not numbers")
            yield block


@contextlib.contextmanager
def _open(path: str) -> Iterator[_AudioFile]:
    """Opens a file, and turns errors that are the file's own into `UnusableAudioError`."""
    try:
        with contextlib.ExitStack() as stack:
            source: str | BinaryIO = path
            if is_remote(path):
                source = stack.enter_context(_open_remote(path))
            if os.path.splitext(path)[1].lower() in PYAV_SUFFIXES:
                yield stack.enter_context(_open_pyav(source))
            else:
                yield stack.enter_context(soundfile.SoundFile(source))
    except soundfile.LibsndfileError as error:
        raise UnusableAudioError(_reason(path, error)) from None
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise UnusableAudioError(error.strerror or str(error)) from None


@contextlib.contextmanager
def _open_remote(path: str) -> Iterator[BinaryIO]:
    """Opens a remote file, and raises what went wrong while it was read.

    libsndfile takes an exception in a callback for the end of the file, so a failing network would
    otherwise look like a truncated file.
    """
    with open_file(path) as file:
        remote = _RemoteFile(file)
        try:
            yield cast(BinaryIO, remote)
        finally:
            if remote.error is not None:
                raise remote.error


class _RemoteFile:
    """A file that ends where reading fails, and remembers the first error."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:
            self.error = self.error or error
            return b""


def _open_pyav(source: str | BinaryIO) -> contextlib.AbstractContextManager[_AudioFile]:
    # PyAV brings 100 MB of FFmpeg that few corpora need, so it is an extra.
    try:
        from beam_jobs.audio.pyav_decoding import open_pyav  # noqa: PLC0415
    except ImportError:
        raise UnusableAudioError(
            "read by PyAV, which is not installed: pip install 'spleeter-beam[av]'"
        ) from None
    return open_pyav(source)


def _reason(path: str, error: soundfile.LibsndfileError) -> str:
    if not is_remote(path):
        try:
            with open(path, "rb") as file:
                if not file.read(1):
                    return "empty file"
        except OSError as os_error:
            return (os_error.strerror or str(os_error)).lower()
    return f"not decoded: {error.error_string}"

"""Reading audio from any file system, with the true length and position of every sample.

libsndfile decodes what it can be trusted with: uncompressed audio, FLAC, and one Ogg stream or row
of MP3 frames at a time. PyAV decodes what libsndfile does not know.
"""

import contextlib
import functools
import os
import re
import stat
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import soundfile

from beam_jobs.audio import decoded_once
from beam_jobs.audio.sndfile_decoding import (
    check_end,
    check_header,
    open_binary,
    open_mp3,
    open_sndfile,
)
from beam_jobs.audio.types import (
    JOINED,
    MP3_SUFFIX,
    PYAV_SUFFIXES,
    AudioFile,
    AudioHeader,
    UnusableAudioError,
)
from beam_jobs.storage.files import is_remote, open_file
from schemas.pcm import Samples
from schemas.recipe import Channels

_MIN_SAMPLE_RATE = 1000
_FLOAT_SUBTYPES = {"FLOAT", "DOUBLE"}

# Ogg and CAF, of which libsndfile does not know all, such as Speex and AAC; MP4 and Matroska under
# other names.
_PYAV_BEGINNING = re.compile(rb"OggS|caff|....ftyp|\x1aE\xdf\xa3", re.DOTALL)

# libsndfile's errors where a WAV or SPHERE file has a codec that it does not know, such as G.726
# or Shorten. FFmpeg may know it.
_CODEC_ERRORS = ("Malformed 'fmt ' chunk", "unimplemented format")

# libsndfile's errors where it comes upon the beginning of another file.
_JOINED_ERRORS = ("No 'RIFF' chunk marker", "bad 'FORM' marker")


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
        if file.samplerate < _MIN_SAMPLE_RATE:
            raise UnusableAudioError(f"sample rate of less than {_MIN_SAMPLE_RATE} Hz")
        check_header(file)
        is_float = isinstance(file, soundfile.SoundFile) and file.subtype in _FLOAT_SUBTYPES
        return AudioHeader(file.samplerate, file.frames, file.channels, is_float)


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
        samples = _read(path, file, start, stop)
        check_end(file, stop)
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


def _read(path: str, file: AudioFile, start: int, stop: int) -> Samples:
    """Reads a range of an open file, float32 [samples], or [samples, channels] of several."""
    if getattr(file, "is_decoded_from_beginning", False):
        open_again = functools.partial(_open_decoder, path, path)
        samples = decoded_once.read_range(path, file, start, stop, open_again)
        if samples is not None:
            return samples if file.channels > 1 else samples[:, 0]
    # Don't seek to frame 0: it makes libsndfile decode FLAC's first block twice.
    if start:
        file.seek(start)
    return file.read(stop - start, dtype="float32")


def read_blocks(path: str, block_frames: int) -> Iterator[Samples]:
    """Decodes a whole file, block by block.

    Yields:
        float32 [frames, channels], full scale is 1; `block_frames` long except for the last.

    Raises:
        UnusableAudioError: as `read_segment`.
    """
    with _open(path) as file:
        if not file.frames:
            raise UnusableAudioError("no audio in the file")
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
            check_end(file, num_read)
            yield block


@contextlib.contextmanager
def _open(path: str) -> Iterator[AudioFile]:
    """Opens a file, and turns errors that are the file's own into `UnusableAudioError`."""
    _check_name(path)
    remote: _RemoteFile | None = None
    try:
        with contextlib.ExitStack() as stack:
            if is_remote(path):
                remote = stack.enter_context(_open_remote(path))
            # A named pipe would wait for its writer, and devices may have no end.
            elif not (stat.S_ISREG(mode := os.stat(path).st_mode) or stat.S_ISDIR(mode)):
                raise UnusableAudioError("not a file")
            yield _open_decoder(path, cast(BinaryIO, remote) if remote else path, stack)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        reason = error.strerror.lower() if error.strerror else str(error)
        raise UnusableAudioError(reason) from None
    # Files may fail to be read for reasons that pass, such as a network drive's.
    except (UnusableAudioError, OSError, MemoryError):
        raise
    except soundfile.LibsndfileError as error:
        raise UnusableAudioError(_reason(path, error)) from None
    except Exception as error:
        if remote is not None and error is remote.error:
            raise
        # Decoders raise whatever they like over a broken file: UnicodeDecodeError, TypeError, ...
        raise UnusableAudioError(f"not decoded: {type(error).__name__}: {error}") from error


def _check_name(path: str) -> None:
    if "\0" in path:
        raise UnusableAudioError("a name with a NUL character in it")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UnusableAudioError("the file's name is not UTF-8: rename it") from None


def _open_decoder(path: str, source: str | BinaryIO, stack: contextlib.ExitStack) -> AudioFile:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in PYAV_SUFFIXES:
        return _open_pyav(source, stack)
    if suffix == ".raw":
        raise UnusableAudioError("raw samples: without a header, nothing states their format")
    nameless = source
    # libsndfile would not recognise every MP3. A file without MP3 may have been renamed: libsndfile
    # goes by what is in it if it does not see its name.
    if suffix == MP3_SUFFIX:
        with contextlib.suppress(UnusableAudioError):
            return open_mp3(source, stack)
        nameless = open_binary(source, stack)
    try:
        if (file := open_sndfile(nameless, stack)) is not None:
            return file
    except soundfile.LibsndfileError as error:
        has_unknown_codec = any(text in error.error_string for text in _CODEC_ERRORS)
        if not has_unknown_codec and not _PYAV_BEGINNING.match(open_binary(source, stack).read(8)):
            raise
    return _open_pyav(source, stack)


@contextlib.contextmanager
def _open_remote(path: str) -> Iterator["_RemoteFile"]:
    """Opens a remote file, and raises what went wrong while it was read.

    libsndfile takes an exception in a callback for the end of the file, so a failing network would
    otherwise look like a truncated file.
    """
    with open_file(path) as file:
        remote = _RemoteFile(file)
        try:
            yield remote
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


def _open_pyav(source: str | BinaryIO, stack: contextlib.ExitStack) -> AudioFile:
    # PyAV brings 100 MB of FFmpeg that few corpora need, so it is an extra.
    try:
        from beam_jobs.audio.pyav_decoding import open_pyav  # noqa: PLC0415
    except ImportError:
        raise UnusableAudioError(
            "read by PyAV, which is not installed: pip install 'spleeter-beam[av]'"
        ) from None
    if not isinstance(source, str):
        source.seek(0)
    return stack.enter_context(open_pyav(source))


def _reason(path: str, error: soundfile.LibsndfileError) -> str:
    if not is_remote(path):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if not file.read(1):
                return "empty file"
    if any(text in error.error_string for text in _JOINED_ERRORS):
        return JOINED
    return f"not decoded: {error.error_string}"

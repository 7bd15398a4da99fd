"""Decoding by FFmpeg, behind the interface of `soundfile.SoundFile`.

PyAV is an optional dependency, so import this module only when a file needs it.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import BinaryIO, cast

import av
import numpy as np

from beam_jobs.audio.decoded_once import LONG_S
from beam_jobs.audio.endings import check_decoded, check_ending
from beam_jobs.audio.identity import Identity, find_identity
from beam_jobs.audio.types import UnusableAudioError, change_of_format
from schemas.pcm import Samples

# Frames decoded at a time on the way to a later frame; bounds memory.
_SKIP_FRAMES = 1 << 20

# The lengths of long files, in which there may be hundreds of utterances.
_lengths: dict[Identity, int] = {}


class PyAvFile:
    """The first audio stream of a file.

    Containers of these formats state more or fewer frames than they hold, and seek to packets, not
    frames. So this counts and seeks by decoding from the beginning.

    Attributes:
        extra_info: always empty; libsndfile's log has no counterpart here.
        is_decoded_from_beginning: always true.
    """

    extra_info = ""
    is_decoded_from_beginning = True

    def __init__(self, source: str | BinaryIO) -> None:
        self._source = source
        self._open()

    def _open(self) -> None:
        # The prefix keeps FFmpeg from taking a name with a colon for a URL.
        source = f"file:{self._source}" if isinstance(self._source, str) else self._source
        # Tags may be in any encoding, and nothing here reads them.
        self._container = av.open(source, "r", metadata_errors="ignore")
        if not self._container.streams.audio:
            self.close()
            raise UnusableAudioError("no audio in the file")
        self._stream = self._container.streams.audio[0]
        self._blocks = self._decode()
        self._rest: Samples = np.zeros((0, self.channels), np.float32)

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    @property
    def samplerate(self) -> int:
        """The sample rate in Hz."""
        return self._stream.rate

    @property
    def channels(self) -> int:
        """The number of channels, at least 1."""
        return self._stream.channels

    @functools.cached_property
    def frames(self) -> int:
        """The number of samples per channel, found by decoding all; ask before reading anything."""
        identity = find_identity(self._source)
        if identity in _lengths:
            return _lengths[identity]
        check_ending(self._source)
        num_frames = sum(frame.samples - late for frame, late in self._decode_frames())
        check_decoded(self._source, num_frames)
        # Reopen: after seeking back, some decoders are not in their initial state.
        self.close()
        if not isinstance(self._source, str):
            self._source.seek(0)
        self._open()
        if identity and num_frames > LONG_S * self.samplerate:
            _lengths[identity] = num_frames
        return num_frames

    def seek(self, frame: int, /) -> int:
        """Moves to a frame by decoding all before it; only valid before anything is read."""
        for position in range(0, frame, _SKIP_FRAMES):
            self.read(min(_SKIP_FRAMES, frame - position))
        return frame

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = False) -> Samples:
        """Decodes the next frames, fewer at the end: [frames, channels], or [frames] for mono."""
        blocks = [self._rest]
        num_frames = len(self._rest)
        while num_frames < frames and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            num_frames += len(block)
        samples: Samples = np.concatenate(blocks, dtype=dtype)
        samples, self._rest = samples[:frames], samples[frames:]
        return samples if always_2d or self.channels > 1 else samples[:, 0]

    def _decode(self) -> Iterator[Samples]:
        """Yields decoded blocks, float32 [frames, channels]."""
        converter = av.AudioResampler(format="fltp")
        for frame, num_late in self._decode_frames():
            for converted in converter.resample(frame):
                yield cast(Samples, converted.to_ndarray().T[num_late:])

    def _decode_frames(self) -> Iterator[tuple[av.AudioFrame, int]]:
        """Yields decoded blocks, and how many samples to leave out at their beginning.

        Raises:
            UnusableAudioError: the sample rate or the number of channels changes on the way, or is
                another one than the file's header states.
        """
        before: tuple[int, int] | None = None
        num_frames = 0
        num_left_out: int | None = None
        for packet in self._container.demux(self._stream):
            if num_left_out is None:
                num_left_out = self._num_late(packet)
            for frame in packet.decode():
                after = frame.sample_rate, frame.layout.nb_channels
                before = before or after
                if after != before:
                    raise UnusableAudioError(change_of_format(before, after, num_frames))
                num_late = min(num_left_out, frame.samples)
                num_left_out -= num_late
                num_frames += frame.samples - num_late
                yield frame, num_late
        stated = self.samplerate, self.channels
        if before not in {None, stated}:
            raise UnusableAudioError(
                f"not the {stated[1]} channels at {stated[0]} Hz that its header promises"
            )

    def _num_late(self, packet: "av.Packet[av.AudioStream]") -> int:
        """Returns how many of an Opus encoder's first samples FFmpeg forgets to leave out.

        FFmpeg writes an encoder's delay into Matroska in samples of the rate that the encoder was
        given, and takes it for samples at 48 kHz. Opus's own header has it right (RFC 7845).
        """
        header = self._stream.codec_context.extradata or b""
        if self._stream.codec_context.name != "opus" or not header.startswith(b"OpusHead"):
            return 0
        stated = int.from_bytes(header[10:12], "little")
        left_out = 0
        if packet.has_sidedata("skip_samples"):
            left_out = int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little")
        return max(0, stated - left_out)


@contextlib.contextmanager
def open_pyav(source: str | BinaryIO) -> Iterator[PyAvFile]:
    """Opens a file.

    Raises:
        UnusableAudioError: FFmpeg can't decode the file, or it has no audio.
        FileNotFoundError: there is no such file.
    """
    try:
        with contextlib.closing(PyAvFile(source)) as file:
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except av.error.FFmpegError as error:
        # That a file was cut off says more than what FFmpeg lacks then.
        check_ending(source)
        raise UnusableAudioError(f"not decoded: {error.strerror}") from None

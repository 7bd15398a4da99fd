"""Decoding by FFmpeg, behind the interface of `soundfile.SoundFile`.

PyAV is an optional dependency, so import this module only when a file needs it.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import BinaryIO, cast

import av
import numpy as np

from beam_jobs.audio.types import UnusableAudioError
from schemas.pcm import Samples

# Frames decoded at a time on the way to a later frame; bounds memory.
_SKIP_FRAMES = 1 << 20


class PyAvFile:
    """The first audio stream of a file.

    Containers of these formats state more or fewer frames than they hold, and seek to packets, not
    frames. So this counts and seeks by decoding from the beginning.

    Attributes:
        extra_info: always empty; libsndfile's log has no counterpart here.
    """

    extra_info = ""

    def __init__(self, source: str | BinaryIO) -> None:
        self._source = source
        self._open()

    def _open(self) -> None:
        self._container = av.open(self._source, "r")
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
        num_frames = sum(frame.samples for frame in self._container.decode(self._stream))
        # Reopen: after seeking back, some decoders are not in their initial state.
        self.close()
        if not isinstance(self._source, str):
            self._source.seek(0)
        self._open()
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
        for frame in self._container.decode(self._stream):
            for converted in converter.resample(frame):
                yield cast(Samples, converted.to_ndarray().T)


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
        raise UnusableAudioError(f"not decoded: {error.strerror}") from None

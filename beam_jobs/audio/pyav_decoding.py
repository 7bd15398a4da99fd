"""Audio that FFmpeg decodes and libsndfile does not, as `soundfile.SoundFile` would give it.

Only imported when such a file is met: PyAV is an extra.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import BinaryIO, cast

import av
import numpy as np

from beam_jobs.audio.types import UnusableAudioError
from schemas.pcm import Samples

# So much is decoded at once to get to a frame further on.
_SKIP_FRAMES = 1 << 20


class PyAvFile:
    """The first audio stream of a file.

    Containers of such formats promise more or fewer frames than they hold, and seek to packets
    rather than frames. So frames are counted from the first one, and by decoding.

    Attributes:
        extra_info: what libsndfile would say of the header; nothing.
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
        """In Hz."""
        return self._stream.rate

    @property
    def channels(self) -> int:
        """1 or more."""
        return self._stream.channels

    @functools.cached_property
    def frames(self) -> int:
        """Samples in each channel, found by decoding them; to be asked before anything is read."""
        num_frames = sum(frame.samples for frame in self._container.decode(self._stream))
        # Seeking back leaves some decoders in another state than they began in.
        self.close()
        if not isinstance(self._source, str):
            self._source.seek(0)
        self._open()
        return num_frames

    def seek(self, frame: int, /) -> int:
        """Goes from the beginning to a frame, through all before it."""
        for position in range(0, frame, _SKIP_FRAMES):
            self.read(min(_SKIP_FRAMES, frame - position))
        return frame

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = False) -> Samples:
        """Decodes: float32 [frames, channels], or [frames] of one channel; fewer at the end."""
        blocks = [self._rest]
        num_frames = len(self._rest)
        while num_frames < frames and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            num_frames += len(block)
        samples: Samples = np.concatenate(blocks, dtype=dtype)
        samples, self._rest = samples[:frames], samples[frames:]
        return samples if always_2d or self.channels > 1 else samples[:, 0]

    def _decode(self) -> Iterator[Samples]:
        """Yields float32 [frames, channels]."""
        converter = av.AudioResampler(format="fltp")
        for frame in self._container.decode(self._stream):
            for converted in converter.resample(frame):
                yield cast(Samples, converted.to_ndarray().T)


@contextlib.contextmanager
def open_pyav(source: str | BinaryIO) -> Iterator[PyAvFile]:
    """Opens a file.

    Raises:
        UnusableAudioError: FFmpeg does not decode it, or it has no audio.
        FileNotFoundError: there is none.
    """
    try:
        with contextlib.closing(PyAvFile(source)) as file:
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except av.error.FFmpegError as error:
        raise UnusableAudioError(f"not decoded: {error.strerror}") from None

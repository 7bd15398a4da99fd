"""Seeking in files where libsndfile would not be at the frame that it says, or can't seek."""

import re

import soundfile

from schemas.pcm import Samples

# Frames decoded at a time on the way to a later frame; bounds memory.
_SKIP_FRAMES = 1 << 20

# A block of GSM in a WAV file.
_GSM_BLOCK_BYTES, _GSM_BLOCK_FRAMES = 65, 320
_DATA_SIZE = re.compile(r"^data : (\d+)", re.MULTILINE)


class SlowlySeekingFile:
    """A file that is decoded, not only sought, on the way to a frame.

    Attributes:
        samplerate: in Hz.
        channels: at least 1.
        frames: the number of samples per channel.
        is_decoded_from_beginning: whether all that is before a frame is decoded to get there.
        extra_info: the log that libsndfile kept while it read the header.
    """

    def __init__(self, file: soundfile.SoundFile, num_before: int = 0) -> None:
        """Wraps a file.

        Args:
            file: at its beginning.
            num_before: frames to decode before one that is sought; all, if the file can't seek.
        """
        self._file = file
        self._num_before = num_before
        self._position = 0
        self.is_decoded_from_beginning = not file.seekable()
        self.samplerate: int = file.samplerate
        self.channels: int = file.channels
        self.extra_info: str = file.extra_info
        self.frames: int = file.frames
        data = _DATA_SIZE.search(self.extra_info)
        # libsndfile takes the byte that makes the size of a chunk even for another block.
        if file.subtype == "GSM610" and file.format in {"WAV", "WAVEX"} and data:
            self.frames = int(data[1]) // _GSM_BLOCK_BYTES * _GSM_BLOCK_FRAMES

    def seek(self, frame: int, /) -> int:
        """Moves to a frame, counted from 0; only to a later one if the file can't seek."""
        self._approach(frame)
        while self._position < frame:
            if not len(self.read(min(_SKIP_FRAMES, frame - self._position))):
                break
        return self._position

    def _approach(self, frame: int) -> None:
        """Moves to where decoding on the way to a frame begins."""
        start = max(0, frame - self._num_before)
        if self._file.seekable() and not start <= self._position <= frame:
            self._position = self._file.seek(start)

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = False) -> Samples:
        """Decodes the next frames: [frames, channels], or [frames] of one channel."""
        frames = max(0, min(frames, self.frames - self._position))
        samples: Samples = self._file.read(frames, dtype=dtype, always_2d=always_2d)
        self._position += len(samples)
        return samples

"""Ogg: streams that follow each other in one file, as in radio recordings and joined files.

libsndfile decodes the first one only.
"""

import bisect
import io
import itertools
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from beam_jobs.audio.types import AudioFile, UnusableAudioError, change_of_format
from schemas.pcm import Samples

_MAGIC = b"OggS"
# A page's header up to the sizes of its segments (RFC 3533).
_HEADER_BYTES = 27
_BEGINS_STREAM = 2
_BLOCK_BYTES = 1 << 16


class ByteRange(io.RawIOBase):
    """A range of a file's bytes as a file; it shares the file with other ranges."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._size = stop - start
        self._position = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves to a byte of the range."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Returns the position in the range."""
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Reads some bytes into a buffer; returns how many, 0 at the end of the range."""
        num_left = max(0, self._size - self._position)
        self._file.seek(self._start + self._position)
        content = self._file.read(min(len(buffer), num_left))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


class JoinedFile:
    """Audio files one after the other, behind the interface of `soundfile.SoundFile`.

    Attributes:
        extra_info: always empty.
    """

    extra_info = ""

    def __init__(self, files: Sequence[AudioFile]) -> None:
        """Joins open files.

        Raises:
            UnusableAudioError: they differ in their sample rates or numbers of channels.
        """
        self._files = files
        self._starts = [0, *itertools.accumulate(file.frames for file in files)]
        self.samplerate = files[0].samplerate
        self.channels = files[0].channels
        self.frames = self._starts[-1]
        self._position = 0
        before = (self.samplerate, self.channels)
        for file, start in zip(files, self._starts, strict=False):
            after = (file.samplerate, file.channels)
            if after != before:
                raise UnusableAudioError(change_of_format(before, after, start))

    def seek(self, frame: int, /) -> int:
        """Moves to a frame, counted from 0."""
        self._position = frame
        index = min(bisect.bisect_right(self._starts, frame), len(self._files)) - 1
        self._files[index].seek(frame - self._starts[index])
        for file in self._files[index + 1 :]:
            file.seek(0)
        return frame

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = False) -> Samples:
        """Decodes the next frames: [frames, channels], or [frames] of one channel."""
        shape = (0, self.channels) if always_2d or self.channels > 1 else (0,)
        blocks = [np.zeros(shape, np.float32)]
        for file, stop in zip(self._files, self._starts[1:], strict=True):
            num_frames = min(frames, stop - self._position)
            if num_frames > 0:
                blocks.append(file.read(num_frames, dtype=dtype, always_2d=always_2d))
                frames -= num_frames
                self._position += num_frames
                if len(blocks[-1]) < num_frames:
                    break
        samples: Samples = np.concatenate(blocks)
        return samples


def find_streams(file: BinaryIO) -> list[tuple[int, int]]:
    """Returns the ranges of bytes of the streams that follow each other in an Ogg file.

    Streams that run side by side, such as a film's sound and picture, are in one range.
    """
    size = file.seek(0, io.SEEK_END)
    starts: list[int] = []
    position, begun = 0, False
    while position < size:
        file.seek(position)
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
            position = _next_page(file, position + 1)
            continue
        begins = bool(header[5] & _BEGINS_STREAM)
        if begins and not begun:
            starts.append(position)
        begun = begins
        segments = file.read(header[26])
        position += _HEADER_BYTES + len(segments) + sum(segments)
    return list(itertools.pairwise([*starts, size]))


def _next_page(file: BinaryIO, position: int) -> int:
    """Returns where the next page may begin; beyond the end of the file if there is none."""
    file.seek(position)
    overlap = b""
    while block := file.read(_BLOCK_BYTES):
        content = overlap + block
        place = content.find(_MAGIC)
        if place >= 0:
            return position - len(overlap) + place
        position += len(block)
        overlap = content[1 - len(_MAGIC) :]
    return position

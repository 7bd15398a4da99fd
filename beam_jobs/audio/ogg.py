"""Ogg: streams that follow each other in one file, as in radio recordings and joined files.

libsndfile decodes the first one only.
"""

import bisect
import dataclasses
import io
import itertools
import zlib
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from beam_jobs.audio.types import AudioFile, UnusableAudioError, change_of_format
from schemas.pcm import Samples

_MAGIC = b"OggS"
# A page's header up to the sizes of its segments (RFC 3533).
_HEADER_BYTES = 27
# Of it, the granule position, the number of the stream, and that of the page.
_FIELDS = ((6, 14), (14, 18), (18, 22))
_BEGINS_STREAM = 2
_BLOCK_BYTES = 1 << 16

# Each byte with its bits the other way round.
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """A page of a stream; a tuple, because an hour has thousands.

    Attributes:
        place: where it begins in the file.
        serial: the number of its stream.
        number: its own in the stream.
        granule: for sound, the number of samples up to the last packet that ends in the page.
        num_packets: that end in it.
    """

    place: int
    serial: int
    number: int
    granule: int
    num_packets: int


@dataclasses.dataclass(frozen=True, slots=True)
class Stream:
    """A stream of a file, or several that run side by side, such as a film's sound and picture.

    Attributes:
        start: its first byte in the file.
        stop: the byte after its last one.
        pages: all of them that are complete.
    """

    start: int
    stop: int
    pages: Sequence[Page]

    @property
    def is_alone(self) -> bool:
        """True if no other stream runs beside it."""
        return len({page.serial for page in self.pages}) == 1


class ByteRange(io.RawIOBase):
    """A range of a file's bytes as a file; it shares the file with other ranges."""

    def __init__(self, file: BinaryIO, start: int, stop: int, *, head: bytes = b"") -> None:
        """Takes a range, and other bytes to put before it."""
        super().__init__()
        self._file = file
        self._head = head
        self._start = start - len(head)
        self._size = stop - self._start
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
        content = self._head[self._position : self._position + len(buffer)]
        if not content:
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


def find_streams(file: BinaryIO) -> list[Stream]:
    """Returns the streams that follow each other in an Ogg file."""
    size = file.seek(0, io.SEEK_END)
    starts: list[int] = []
    pages: list[list[Page]] = []
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
            pages.append([])
        begun = begins
        segments = file.read(header[26])
        stop = position + _HEADER_BYTES + len(segments) + sum(segments)
        if pages and stop <= size:
            granule, serial, number = (
                int.from_bytes(header[place:end], "little") for place, end in _FIELDS
            )
            # A packet goes on where a segment is full.
            num_packets = len(segments) - segments.count(255)
            pages[-1].append(Page(position, serial, number, granule, num_packets))
        position = stop
    stops = [*starts[1:], size]
    return [Stream(*one) for one in zip(starts, stops, pages, strict=True)]


def renumber(headers: bytes, stop: int) -> bytes:
    """Numbers pages anew, so that decoders miss none between them and a later one.

    Args:
        headers: the first pages of a stream.
        stop: the number of the page that is to follow them.
    """
    pages = [page for stream in find_streams(io.BytesIO(headers)) for page in stream.pages]
    ends = [*(page.place for page in pages[1:]), len(headers)]
    content = bytearray(headers)
    for number, page, end in zip(range(stop - len(pages), stop), pages, ends, strict=True):
        content[page.place + 18 : page.place + 22] = number.to_bytes(4, "little")
        content[page.place : end] = _with_checksum(content[page.place : end])
    return bytes(content)


def with_granule(page: bytes, granule: int) -> bytes:
    """Returns a page with another granule position."""
    return _with_checksum(page[:6] + granule.to_bytes(8, "little") + page[14:])


def _with_checksum(page: bytes) -> bytes:
    checksum = _checksum(page[:22] + bytes(4) + page[26:])
    return page[:22] + checksum.to_bytes(4, "little") + page[26:]


def _checksum(page: bytes) -> int:
    # zlib's, with all bits the other way round, and without the inversions at both ends.
    mirrored = ~zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) & 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


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

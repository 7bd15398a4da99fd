"""Vorbis: decoding any range of a stream exactly, without all that is before it.

After a seek in Vorbis, libsndfile may be at another frame than it says. A sample needs no more than
the packet that it is in and the one before. So to seek, this module has libsndfile decode a shorter
stream: the headers, and what follows from shortly before the range on.
"""

import bisect
import contextlib
import io
import itertools
from typing import BinaryIO

import soundfile

from beam_jobs.audio.ogg import ByteRange, Page, Stream, renumber, with_granule
from beam_jobs.audio.seeking import SlowlySeekingFile

# A stream begins with three packets about itself.
_NUM_HEADERS = 3

# Of samples: a page may begin within a packet, and a packet has no more than half of this.
_LEAD_IN = 1 << 15

# Where the first page of a stream has the sizes of its blocks, as exponents of 2.
_BLOCK_SIZES = 56

# More samples than a page has.
_FAR = 1 << 24


class VorbisFile(SlowlySeekingFile):
    """A Vorbis stream that no other stream runs beside."""

    def __init__(
        self,
        file: soundfile.SoundFile,
        binary: BinaryIO,
        stream: Stream,
        stack: contextlib.ExitStack,
    ) -> None:
        """Wraps a file.

        Args:
            file: of the stream, at its beginning.
            binary: the file that the stream is in.
            stream: its place, and its pages.
            stack: closes what is opened later.
        """
        super().__init__(file)
        self._whole = file
        self._binary = binary
        self._stream = stream
        self._stack = stack
        self._pages = _pages_of_sound(stream)

    def _approach(self, frame: int) -> None:
        if self._position <= frame < self._position + _LEAD_IN:
            return
        # Pages count samples from wherever the stream was cut out.
        first = self._pages[-1].granule - self.frames if self._pages else 0
        target = first + frame - _LEAD_IN
        index = bisect.bisect_right(self._pages, target, key=lambda page: page.granule)
        if 0 < index < len(self._pages):
            file = self._open(self._pages[index])
            # Both end with the same sample.
            position = self.frames - file.frames
            if position <= frame:
                self._file, self._position = file, position
                return
        self._file, self._position = self._whole, self._whole.seek(0)

    def _open(self, page: Page) -> soundfile.SoundFile:
        """Opens the stream without the sound before a page."""
        stream, first = self._stream, self._pages[0]
        self._binary.seek(stream.start)
        headers = self._binary.read(first.place - stream.start)
        rest = ByteRange(self._binary, page.place, stream.stop, head=renumber(headers, page.number))
        return self._stack.enter_context(soundfile.SoundFile(rest))


def has_true_positions(binary: BinaryIO, stream: Stream) -> bool:
    """Returns whether the samples of a stream are where its pages say.

    They are not where FFmpeg cut it out of a longer stream, so that its first page begins before
    time 0, or copied it from a container that counts milliseconds. From the former, libvorbis would
    leave out samples in the middle.

    Args:
        binary: the file that the stream is in.
        stream: its place, and its pages.
    """
    pages = _pages_of_sound(stream)
    # The last page may end before its packets do.
    if len(pages) < 2 or not stream.is_alone:
        return True
    binary.seek(stream.start)
    content = binary.read(pages[1].place - stream.start)
    # Packets have quarters of two blocks, and all blocks are multiples of the short ones.
    quarter = (1 << (content[_BLOCK_SIZES] & 0x0F)) // 4
    steps = (after.granule - page.granule for page, after in itertools.pairwise(pages[:-1]))
    if any(step % quarter for step in steps):
        return False
    sound = pages[0].place - stream.start
    page = with_granule(content[sound:], pages[0].granule + _FAR)
    with soundfile.SoundFile(io.BytesIO(content[:sound] + page)) as file:
        return bool(file.frames <= pages[0].granule)


def _pages_of_sound(stream: Stream) -> list[Page]:
    """Returns the pages after the headers, where a packet ends in them."""
    num_packets = 0
    for index, page in enumerate(stream.pages):
        if num_packets >= _NUM_HEADERS:
            return [one for one in stream.pages[index:] if one.num_packets]
        num_packets += page.num_packets
    return []

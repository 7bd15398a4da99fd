"""MP3: finding its frames, and decoding any range of its samples exactly.

An MP3 is a row of frames, and nothing in it reliably states how many. libsndfile estimates the
length of a file without a Xing frame from its first frame and reads no further than that; after a
seek it decodes frames without the bytes of earlier frames that they need. So this module finds the
frames itself, and has libsndfile decode short, complete MP3s made of the frames of a range.
"""

import bisect
import dataclasses
import functools
import io
import itertools
import threading
from collections.abc import Container, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from beam_jobs.audio.identity import Identity, find_identity
from beam_jobs.audio.types import UnusableAudioError, change_of_format
from schemas.pcm import Samples

# Bit rates of Layer III in kbit/s, for the sample rates of MPEG-1 (ISO 11172-3) and for the lower
# ones of MPEG-2 (ISO 13818-3) and of MPEG-2.5. Index 0 leaves the bit rate open, 15 is invalid.
_BIT_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_LOW_BIT_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_INDEX_OF_64_KBPS = {True: _BIT_RATES.index(64), False: _LOW_BIT_RATES.index(64)}

# By the two bits of the version: MPEG-2.5, MPEG-2, MPEG-1; 1 is invalid.
_SAMPLE_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
_MPEG_1 = 3
_MONO = 3

# So many headers in a row, each where the frame before it ends, are no coincidence.
_FRAMES_IN_A_ROW = 4
_MAX_FRAME_BYTES = 1441

# Samples that every decoder puts before the first one. LAME's tag does not count them.
_DECODER_DELAY = 529

# The filter bank's rounding depends on the number of frames before, modulo this.
_ROUNDING_PERIOD = 8

# Besides their own bytes, two frames before a range shape its first samples: one through the
# overlap of transforms, and the one before that through the overlap of that one.
_OVERLAP_FRAMES = 2

# The first block is for headers, and often the whole file.
_FIRST_BLOCK_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 22
_TAG_BYTES = 128
# Frames decoded at once: bounds memory.
_MAX_FRAMES = 4096

# Utterances are often ranges of the same few long files, whose frames take 0.3 s an hour to find.
_MANY_FRAMES = 10_000
_MAX_TABLES = 8
_TABLES: "dict[Identity, _Table]" = {}
_LOCK = threading.Lock()

_TAGS = (b"ID3", b"TAG", b"APETAGEX")
_INFO = (b"Xing", b"Info", b"VBRI")
# FFmpeg, too, believes only these encoders about the delay that they state.
_STATES_DELAY = (b"LAME", b"Lavf", b"Lavc")


@dataclasses.dataclass(frozen=True, slots=True)
class _Format:
    """The part of a frame's header that all frames of an MP3 share.

    Attributes:
        version: the two bits of the header.
        sample_rate: in Hz.
        num_channels: 1 or 2.
    """

    version: int
    sample_rate: int
    num_channels: int

    @property
    def frame_samples(self) -> int:
        """Samples per channel of a frame."""
        return 1152 if self.version == _MPEG_1 else 576

    @property
    def side_bytes(self) -> int:
        """Size of the side information, which follows the header and its checksum."""
        if self.version == _MPEG_1:
            return 17 if self.num_channels == 1 else 32
        return 9 if self.num_channels == 1 else 17

    @property
    def reservoir_bytes(self) -> int:
        """Greatest number of bytes before a frame that the frame may refer to."""
        return 511 if self.version == _MPEG_1 else 255


class _Frame(NamedTuple):
    """The header of a frame; a tuple, because an hour has 140,000.

    Attributes:
        offset: where it begins in the file.
        num_bytes: its length with the header.
        format: of its samples.
        info: the frame's bytes if it holds no sound but describes the file; otherwise empty.
    """

    offset: int
    num_bytes: int
    format: _Format
    info: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """A row of frames that one encoder made; joined MP3s have several.

    Attributes:
        first: index of its first frame in the file.
        start: first sample to keep, counted from the first frame.
        stop: sample after the last one to keep.
    """

    first: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Table:
    """All frames of a file that hold sound.

    Attributes:
        offsets: where they begin in the file, int64 [frames].
        lengths: their sizes in bytes, int64 [frames].
        parts: the rows of frames in it.
    """

    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    parts: tuple[_Part, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Info:
    """A Xing, Info or VBRI frame.

    Attributes:
        num_frames: how many frames follow, 0 if not stated.
        num_bytes: their size, with this frame's own; 0 if not stated.
        delay: samples that the encoder put before the first one, if stated.
        padding: samples that it put after the last one.
    """

    num_frames: int = 0
    num_bytes: int = 0
    delay: int | None = None
    padding: int = 0

    def kept(self, num_frames: int, frame_samples: int) -> tuple[int, int]:
        """Returns the range of samples that the encoder did not add, out of a number of frames."""
        stop = num_frames * frame_samples
        if self.delay is None:
            return 0, stop
        # Where the end is missing, so is the padding.
        if num_frames >= self.num_frames > 0:
            stop -= max(0, self.padding - _DECODER_DELAY)
        return min(self.delay + _DECODER_DELAY, stop), stop


class Mp3File:
    """An MP3 behind the interface of `soundfile.SoundFile`.

    Attributes:
        extra_info: always empty; nothing about an MP3's header needs to be known.
    """

    extra_info = ""

    def __init__(self, file: BinaryIO) -> None:
        """Looks for the first frame.

        Raises:
            UnusableAudioError: there is no MP3 in the file.
        """
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._following = _find_frames(file, self._size)
        first = next(self._following, None)
        if first is None:
            raise UnusableAudioError("no MP3 frames that state their bit rate: encode it again")
        self._first = first
        self._format = first.format
        self._position = 0

    def close(self) -> None:
        """Does nothing: the file belongs to the caller."""

    @property
    def samplerate(self) -> int:
        """The sample rate in Hz."""
        return self._format.sample_rate

    @property
    def channels(self) -> int:
        """The number of channels, 1 or 2."""
        return self._format.num_channels

    @functools.cached_property
    def frames(self) -> int:
        """The number of samples per channel.

        A Xing frame is believed if the size that it states is the file's: then nothing was joined,
        appended or cut off since, and finding all frames of a long file can be spared.
        """
        info = _parse_info(self._first)
        sizes = {self._size - self._first.offset, self._size - self._first.offset - _TAG_BYTES}
        if info.num_frames and info.num_bytes in sizes:
            start, stop = info.kept(info.num_frames, self._format.frame_samples)
            return stop - start
        return sum(part.stop - part.start for part in self._table.parts)

    def seek(self, frame: int, /) -> int:
        """Moves to a sample, counted from 0 in each channel."""
        self._position = frame
        return frame

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = False) -> Samples:
        """Decodes the next samples, fewer at the end: [frames, channels], or [frames] for mono."""
        blocks = [np.zeros((0, self.channels), np.float32)]
        begin, end = self._position, self._position + frames
        for part in self._table.parts:
            length = part.stop - part.start
            start, stop = max(begin, 0), min(end, length)
            if start < stop:
                blocks += self._decode(part, part.start + start, part.start + stop)
                self._position += stop - start
            begin, end = begin - length, end - length
        samples: Samples = np.concatenate(blocks, dtype=dtype)
        return samples if always_2d or self.channels > 1 else samples[:, 0]

    @functools.cached_property
    def _table(self) -> _Table:
        identity = find_identity(self._file)
        with _LOCK:
            table = _TABLES.pop(identity, None) if identity else None
        table = table or self._find_all()
        if identity and len(table.offsets) >= _MANY_FRAMES:
            with _LOCK:
                _TABLES[identity] = table
                while len(_TABLES) > _MAX_TABLES:
                    del _TABLES[next(iter(_TABLES))]
        return table

    def _find_all(self) -> _Table:
        """Finds all frames, and which of their samples encoders added.

        Raises:
            UnusableAudioError: the sample rate or the number of channels changes on the way.
        """
        offsets: list[int] = []
        lengths: list[int] = []
        info, begin = _Info(), 0
        parts = []
        spf = self._format.frame_samples

        def end_part() -> None:
            num_frames = len(offsets) - begin
            if num_frames > info.num_frames > 0:
                # Frames that were appended without a description of their own.
                parts.append(_Part(begin, *info.kept(info.num_frames, spf)))
                rest = begin + info.num_frames
                parts.append(_Part(rest, 0, (len(offsets) - rest) * spf))
            elif num_frames:
                parts.append(_Part(begin, *info.kept(num_frames, spf)))

        for frame in itertools.chain((self._first,), self._following):
            if frame.format is not self._format:
                before, after = (
                    (one.sample_rate, one.num_channels) for one in (self._format, frame.format)
                )
                raise UnusableAudioError(change_of_format(before, after, len(offsets) * spf))
            if frame.info:
                end_part()
                info, begin = _parse_info(frame), len(offsets)
            else:
                offsets.append(frame.offset)
                lengths.append(frame.num_bytes)
        end_part()
        return _Table(np.array(offsets, np.int64), np.array(lengths, np.int64), tuple(parts))

    def _decode(self, part: _Part, start: int, stop: int) -> Iterator[Samples]:
        """Yields a range of the samples of a part's frames, float32 [samples, channels]."""
        spf = self._format.frame_samples
        while start < stop:
            first = start // spf
            last = min(-(-stop // spf), first + _MAX_FRAMES)
            samples = self._decode_frames(part.first + first, part.first + last)
            yield samples[start - first * spf : stop - first * spf]
            start = last * spf

    def _decode_frames(self, start: int, stop: int) -> Samples:
        """Decodes frames exactly as a decoder would that came to them from the beginning.

        A frame may refer to bytes of frames before it. Those go before it, silenced as far as they
        refer to bytes that are missing themselves.
        """
        format_ = self._format
        exact = max(0, start - _OVERLAP_FRAMES)
        begin, num_bytes = exact, 0
        # The checksum, which some frames have, is two bytes long.
        overhead = 4 + 2 + format_.side_bytes
        while begin > 0 and num_bytes < format_.reservoir_bytes:
            begin -= 1
            num_bytes += max(0, int(self._table.lengths[begin]) - overhead)
        begin -= begin % _ROUNDING_PERIOD
        frames = self._read_frames(begin, stop)
        ends = self._table.offsets[begin:stop] + self._table.lengths[begin:stop]
        gaps = 1 + np.flatnonzero(ends[:-1] != self._table.offsets[begin + 1 : stop])
        _silence_incomplete(frames, exact - begin, set(gaps.tolist()), format_)
        # libmpg123 leaves out the decoder's delay at the beginning: make it that of a blank frame.
        num_frames = (1 + len(frames)).to_bytes(4, "big")
        info = _blank_frame(frames[0], format_, b"Info\0\0\0\1" + num_frames)
        content = b"".join((info, _blank_frame(frames[0], format_), *frames))
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            samples: Samples = file.read(dtype="float32", always_2d=True)
        num_before = (1 + start - begin) * format_.frame_samples - _DECODER_DELAY
        samples = samples[num_before:]
        if len(samples) != (stop - start) * format_.frame_samples:
            raise UnusableAudioError(f"frames {start} to {stop} of the MP3 can't be decoded")
        return samples

    def _read_frames(self, start: int, stop: int) -> list[bytes]:
        offsets = self._table.offsets[start:stop].tolist()
        lengths = self._table.lengths[start:stop].tolist()
        base = offsets[0]
        content = _read(self._file, base, offsets[-1] + lengths[-1] - base)
        return [
            content[offset - base : offset - base + length]
            for offset, length in zip(offsets, lengths, strict=True)
        ]


def _find_frames(file: BinaryIO, size: int) -> Iterator[_Frame]:
    """Yields the frames of an MP3 in order; one of another format may be the last."""
    position, known = 0, None
    block = _Block(_read(file, 0, _FIRST_BLOCK_BYTES), 0, size)
    while position < size:
        if position + _FRAMES_IN_A_ROW * _MAX_FRAME_BYTES > block.stop < size:
            block = _Block(_read(file, position, _BLOCK_BYTES), position, size)
            # The file shrank meanwhile.
            if block.stop == position:
                return
        num_bytes, format_ = block.headers.get(position, (0, None))
        if format_ is None or (format_ is not known and not block.begins_row(position)):
            position = block.skip(position)
            continue
        if position + num_bytes > size:
            return
        known = format_
        info = block.info(position, num_bytes, format_) if block.has_info else b""
        yield _Frame(position, num_bytes, format_, info)
        position += num_bytes


class _Block:
    """Some of the bytes of a file, and whatever in them looks like the header of a frame.

    Attributes:
        stop: where in the file the bytes end.
        has_info: whether there may be frames that describe the file.
        headers: length and format of a frame, by its place in the file.
    """

    def __init__(self, content: bytes, start: int, size: int) -> None:
        self._content = content
        self._start = start
        self._size = size
        self.stop = start + len(content)
        self._info = {start + place for text in _INFO for place in _places(content, text)}
        self.has_info = bool(self._info)
        data = np.frombuffer(content, np.uint8)
        places = np.flatnonzero(data[:-3] == 0xFF)
        # Formats are compared by identity: so all threads have to have the same ones.
        with _LOCK:
            lengths, formats = _header_tables()
        keys = data[places + 1].astype(np.int64) << 8 | data[places + 2]
        valid = lengths[keys] > 0
        places, keys = places[valid], keys[valid]
        mono = data[places + 3] >> 6 == _MONO
        self.headers: dict[int, tuple[int, _Format]] = dict(
            zip(
                (places + start).tolist(),
                zip(
                    lengths[keys].tolist(),
                    map(formats.__getitem__, (keys * 2 + mono).tolist()),
                    strict=True,
                ),
                strict=True,
            )
        )

    @functools.cached_property
    def _places(self) -> list[int]:
        return list(self.headers)

    def begins_row(self, place: int) -> bool:
        """Returns whether frames of one format follow each other from here on."""
        _, format_ = self.headers[place]
        for count in range(_FRAMES_IN_A_ROW):
            num_bytes, other = self.headers.get(place, (0, None))
            if other is not format_:
                # A short file: its end, or what is known to follow frames, will do as well.
                at = place - self._start
                return count > 0 and (place == self._size or self._content.startswith(_TAGS, at))
            # Cut off.
            if place + num_bytes > self._size:
                return count > 1
            place += num_bytes
        return True

    def skip(self, place: int) -> int:
        """Returns the next place after something that is not a frame where one may begin."""
        at = place - self._start
        head = self._content[at : at + 32]
        if head.startswith(b"ID3") and len(head) >= 10:
            # Seven bits a byte, lest a size look like a header.
            size = sum((byte & 0x7F) << 7 * (3 - index) for index, byte in enumerate(head[6:10]))
            return place + 10 + size + (10 if head[5] & 0x10 else 0)
        if head.startswith(b"TAG"):
            return place + _TAG_BYTES
        if head.startswith(b"APETAGEX") and len(head) == 32:
            return place + 32 + int.from_bytes(head[12:16], "little")
        # Tags may follow after junk, too.
        tags = [self._content.find(tag, at + 1) for tag in (b"ID3", b"APETAGEX")]
        stop = min((self._start + tag for tag in tags if tag >= 0), default=self.stop)
        for index in range(bisect.bisect_right(self._places, place), len(self._places)):
            other = self._places[index]
            if other >= stop:
                break
            if self.begins_row(other):
                return other
        # A row that begins at the very end of the block is seen whole in the next one.
        if stop == self.stop < self._size:
            return max(place + 1, stop - _FRAMES_IN_A_ROW * _MAX_FRAME_BYTES)
        return stop

    def info(self, place: int, num_bytes: int, format_: _Format) -> bytes:
        """Returns the bytes of a frame if it describes the file, otherwise none."""
        # Xing's is where the sound would begin, Fraunhofer's at a place of its own.
        if self._info.isdisjoint((place + 4 + format_.side_bytes, place + 36)):
            return b""
        at = place - self._start
        return self._content[at : at + num_bytes]


@functools.cache
def _header_tables() -> tuple[npt.NDArray[np.int64], list[_Format]]:
    """Tabulates headers by their second and third byte.

    Returns:
        The length in bytes of a frame with such a header, 0 if there is none, int64 [65536]; and
        its format at twice the index, or one after that if the frame is mono.
    """
    lengths = np.zeros(1 << 16, np.int64)
    formats = [_Format(_MPEG_1, 44100, 2)] * (1 << 17)
    for version, sample_rates in _SAMPLE_RATES.items():
        bit_rates = _BIT_RATES if version == _MPEG_1 else _LOW_BIT_RATES
        for rate_index, sample_rate in enumerate(sample_rates):
            both = [_Format(version, sample_rate, num_channels) for num_channels in (2, 1)]
            for bit_index, bit_rate in enumerate(bit_rates):
                # With and without a checksum, with and without padding, and a bit for private use.
                for protection in (0, 1) if bit_rate else ():
                    for bits in range(4):
                        key = (0xE0 | version << 3 | 0b01 << 1 | protection) << 8
                        key |= bit_index << 4 | rate_index << 2 | bits
                        num_bytes = both[0].frame_samples // 8 * bit_rate * 1000 // sample_rate
                        lengths[key] = num_bytes + (bits >> 1)
                        formats[2 * key : 2 * key + 2] = both
    return lengths, formats


def _parse_info(frame: _Frame) -> _Info:
    tag = frame.info[4 + frame.format.side_bytes :]
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 8:
        return _Info()
    flags = int.from_bytes(tag[4:8], "big")
    at, numbers = 8, {}
    for flag, length in ((1, 4), (2, 4), (4, 100), (8, 4)):
        if flags & flag:
            numbers[flag] = int.from_bytes(tag[at : at + 4], "big")
            at += length
    delay, padding = None, 0
    if tag[at : at + 4] in _STATES_DELAY and len(tag) >= at + 24:
        both = int.from_bytes(tag[at + 21 : at + 24], "big")
        delay, padding = both >> 12, both & 0xFFF
    return _Info(numbers.get(1, 0), numbers.get(2, 0), delay, padding)


def _blank_frame(like: bytes, format_: _Format, data: bytes = b"") -> bytes:
    """Returns a frame without sound of the format of another, with some data."""
    header = bytearray(like[:4])
    # No checksum, and large enough for all that goes into one here.
    header[1] |= 1
    header[2] = header[2] & 0x0C | _INDEX_OF_64_KBPS[format_.version == _MPEG_1] << 4
    lengths, _ = _header_tables()
    num_bytes = int(lengths[header[1] << 8 | header[2]])
    return (bytes(header) + bytes(format_.side_bytes) + data).ljust(num_bytes, b"\0")


def _silence_incomplete(
    frames: list[bytes], num_silent: int, gaps: Container[int], format_: _Format
) -> None:
    """Takes the sound out of the first frames, and of any that refers to bytes that are missing.

    What is missing is before the first frame, or before one at a gap.

    Silenced frames keep the bytes that others refer to. They claim as many bytes before them as
    there are, or libmpg123 would not keep those for the frames that follow.
    """
    num_before = 0
    for index, frame in enumerate(frames):
        if index in gaps:
            num_before = 0
        # A checksum of two bytes may follow the header.
        at = 4 if frame[1] & 1 else 6
        # The side information begins with the number of bytes, in 9 bits or 8.
        size, shift = (2, 7) if format_.version == _MPEG_1 else (1, 0)
        num_referred = int.from_bytes(frame[at : at + size], "big") >> shift
        if index < num_silent or num_referred > num_before:
            side = (min(num_before, format_.reservoir_bytes) << shift).to_bytes(size, "big")
            rest = frame[at + format_.side_bytes :]
            frames[index] = frame[:at] + side.ljust(format_.side_bytes, b"\0") + rest
        num_before += max(0, len(frame) - at - format_.side_bytes)


def _places(content: bytes, text: bytes) -> Iterator[int]:
    """Yields where in some bytes others are."""
    place = content.find(text)
    while place >= 0:
        yield place
        place = content.find(text, place + 1)


def _read(file: BinaryIO, start: int, num_bytes: int) -> bytes:
    """Reads a range of bytes, or what there is of it; a remote file may give fewer at a time."""
    file.seek(start)
    parts = []
    while num_bytes and (part := file.read(num_bytes)):
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)

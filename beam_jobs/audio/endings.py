"""Where files end, in formats whose decoders do not say if that is where they should."""

import contextlib
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from beam_jobs.audio.types import JOINED, UnusableAudioError

_BLOCK_BYTES = 1 << 20

LENGTH_OF_A_PIPE = 0x7FFF0000
"""Programs that write to a pipe state it, or more, for a length that they can't know."""

# The first bytes of files that FFmpeg reads to their end only, whatever was appended: AMR, TTA,
# Monkey's Audio, ASF's GUID (WMA), and SPHERE where it is compressed.
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_BEGINNINGS = (b"#!AMR", b"TTA1\1\0", b"MAC \x96\x0f", b"MAC \x7c\x0f", _ASF, b"NIST_1A\n")

# ASF's header says in one of its parts, of this GUID, how long all of the file is.
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER_BYTES = 1 << 16

# The elements that Matroska and WebM consist of, and a size that is left open (RFC 8794).
_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
_OPEN_SIZE = (1 << 56) - 1

# The boxes of an MP4 that others don't make up for.
_MP4_CONTENT = (b"moov", b"moof", b"mdat")

_SPHERE = b"NIST_1A\n"
_SPHERE_FIELD = re.compile(
    rb"^(sample_count|channel_count|sample_n_bytes) -\w+ (\d+)", re.MULTILINE
)


def check_ending(source: str | BinaryIO) -> None:
    """Checks that a file ends where its header says, and that no other one follows.

    Args:
        source: a path on this machine, or an open file, which is rewound.

    Raises:
        UnusableAudioError: the file ends early, or several were joined into one.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(source, "rb")) if isinstance(source, str) else source
        head = _read_at(file, 0, 32)
        if head[4:8] == b"ftyp":
            joined = list(_mp4_boxes(file)).count(b"ftyp") > 1
        elif head.startswith(_EBML):
            _check_size(file, _matroska_size(file))
            joined = False
        elif head.startswith(b"caff"):
            joined = b"caff" in _caf_chunks(file)
        elif head.startswith(_SPHERE):
            joined = _is_joined_sphere(file, head)
        elif head.startswith(b"RIFF"):
            _check_size(file, _riff_size(file))
            joined = False
        else:
            if head.startswith(_ASF):
                _check_size(file, _asf_size(file))
            joined = _repeats_beginning(file, head)
        file.seek(0)
    if joined:
        raise UnusableAudioError(JOINED)


def _check_size(file: BinaryIO, stated: int) -> None:
    size = file.seek(0, io.SEEK_END)
    if size < stated:
        raise _ends_early(size, stated)


def _matroska_size(file: BinaryIO) -> int:
    """Returns how long the file is at least; 0 if that is left open, as in live recordings."""
    num_bytes, size = _ebml_size(_read_at(file, 4, 8))
    place = 4 + num_bytes + size
    segment = _read_at(file, place, 12)
    if not segment.startswith(_SEGMENT):
        return 0
    num_bytes, size = _ebml_size(segment[4:])
    return 0 if size == _OPEN_SIZE else place + 4 + num_bytes + size


def _ebml_size(content: bytes) -> tuple[int, int]:
    """Reads a number whose first bits tell how long it is; returns its length in bytes too."""
    num_bytes = 9 - int.from_bytes(content[:1], "big").bit_length()
    size = int.from_bytes(content[:num_bytes], "big") & ((1 << 7 * num_bytes) - 1)
    return num_bytes, _OPEN_SIZE if size == (1 << 7 * num_bytes) - 1 else size


def _asf_size(file: BinaryIO) -> int:
    content = _read_at(file, 0, _ASF_HEADER_BYTES)
    place = content.find(_ASF_FILE_PROPERTIES)
    return int.from_bytes(content[place + 40 : place + 48], "little") if place >= 0 else 0


def _riff_size(file: BinaryIO) -> int:
    """Returns where the samples of a WAV file end."""
    place = 12
    while len(header := _read_at(file, place, 8)) == 8:
        size = int.from_bytes(header[4:], "little")
        if header.startswith(b"data"):
            return 0 if size >= LENGTH_OF_A_PIPE else place + 8 + size
        place += 8 + size + size % 2
    return 0


def _mp4_boxes(file: BinaryIO) -> Iterator[bytes]:
    file_size = file.seek(0, io.SEEK_END)
    place = 0
    while len(header := _read_at(file, place, 16)) >= 8:
        yield header[4:8]
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        # 0 is for a box up to the end of the file, and smaller ones can't be.
        if size < 8:
            return
        place += size
        if place > file_size and header[4:8] in _MP4_CONTENT:
            raise _ends_early(file_size, place)


def _caf_chunks(file: BinaryIO) -> Iterator[bytes]:
    file_size = file.seek(0, io.SEEK_END)
    place = 8
    while len(header := _read_at(file, place, 12)) == 12:
        yield header[:4]
        size = int.from_bytes(header[4:], "big", signed=True)
        # -1 is for samples up to the end of the file.
        if size < 0:
            return
        place += 12 + size
        if place > file_size and header[:4] != b"caff":
            raise _ends_early(file_size, place)


def _is_joined_sphere(file: BinaryIO, head: bytes) -> bool:
    """Returns whether another file follows one in NIST's format, after checking its own end."""
    header, fields = _sphere_header(file)
    if b"embedded-shorten" in header:
        # How many bytes its compression leaves is not stated.
        return _repeats_beginning(file, head)
    samples = fields.get(b"sample_count", 0) * fields.get(b"channel_count", 1)
    stop = len(header) + samples * fields.get(b"sample_n_bytes", 1)
    _check_size(file, stop)
    return _read_at(file, stop, len(_SPHERE)) == _SPHERE


def _sphere_header(file: BinaryIO) -> tuple[bytes, dict[bytes, int]]:
    """Returns the header of a file in NIST's format, and the numbers in it."""
    first_lines = _read_at(file, 0, 16).split()
    header = _read_at(file, 0, int(first_lines[1]))
    return header, {name: int(value) for name, value in _SPHERE_FIELD.findall(header)}


def check_decoded(source: str | BinaryIO, num_frames: int) -> None:
    """Checks that all was decoded of a file whose compression does not say where it ends.

    Args:
        source: a path on this machine, or an open file, which is rewound.
        num_frames: that were decoded.

    Raises:
        UnusableAudioError: there should be more.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(source, "rb")) if isinstance(source, str) else source
        stated = 0
        if _read_at(file, 0, len(_SPHERE)) == _SPHERE:
            stated = _sphere_header(file)[1].get(b"sample_count", 0)
        file.seek(0)
    if num_frames < stated:
        raise UnusableAudioError(
            f"ends early: {num_frames} frames of the {stated} that its header promises"
        )


def _ends_early(size: int, stop: int) -> UnusableAudioError:
    return UnusableAudioError(f"ends early: {size} bytes of the {stop} that its header promises")


def _repeats_beginning(file: BinaryIO, head: bytes) -> bool:
    beginning = next((one for one in _BEGINNINGS if head.startswith(one)), None)
    if beginning is None:
        return False
    # What is looked for may begin in one block and end in the next.
    content = _read_at(file, 1, _BLOCK_BYTES)
    while len(content) >= len(beginning):
        if beginning in content:
            return True
        content = content[1 - len(beginning) :] + file.read(_BLOCK_BYTES)
    return False


def _read_at(file: BinaryIO, place: int, num_bytes: int) -> bytes:
    file.seek(place)
    return file.read(num_bytes)

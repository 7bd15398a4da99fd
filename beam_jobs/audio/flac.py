"""FLAC: finding out that a file goes on where its header says that it ends.

libsndfile reads no further than the header says. Nothing in it says how many bytes there are.
"""

import mmap
import re
from typing import BinaryIO

from beam_jobs.audio.types import JOINED, UnusableAudioError

# FLAC's mark with the block that always follows it, which may be the last one of its kind.
_BEGINNING = re.compile(rb"fLaC[\0\x80]\0\0\x22")

# Where the blocks about the stream begin, and where the first of them has the length of frames.
_BLOCKS, _LENGTH = 4, 8
_LAST_BLOCK = 0x80
# A frame of a stream in which all but the last are of one length begins so.
_FIXED_LENGTH = b"\xff\xf8"

# More than libFLAC reads ahead.
_BUFFER_BYTES = 1 << 16


def check_end(source: str | BinaryIO, num_frames: int) -> None:
    """Checks that nothing follows the last sample of a file.

    Args:
        source: a path on this machine, or an open file, which was read to its last sample.
        num_frames: the number of samples per channel that its header states.

    Raises:
        UnusableAudioError: another file follows, or more of this one.
    """
    if not isinstance(source, str):
        # Spares reading a remote file twice, unless its own beginning may be in what is read.
        source.seek(max(4, source.tell() - _BUFFER_BYTES))
        rest = source.read()
        if _BEGINNING.search(rest):
            source.seek(0)
            _check_content(source.read(), num_frames)
        return
    with open(source, "rb") as binary:
        content = mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ)
    with content:
        _check_content(content, num_frames)


def _check_content(content: mmap.mmap | bytes, num_frames: int) -> None:
    # A tag may be before it. An expression finds it in a tenth of the time that `mmap.find` takes.
    start, *others = (found.start() for found in _BEGINNING.finditer(content))
    if others:
        raise UnusableAudioError(JOINED)
    if _last_whole_frame(content, start) >= num_frames:
        raise UnusableAudioError(
            f"goes on after the {num_frames} samples that its header states: encode it again"
        )


def _last_whole_frame(content: mmap.mmap | bytes, start: int) -> int:
    """Returns the number of the first sample of the last frame of full length; 0 if unknown."""
    place, is_last = start + _BLOCKS, False
    while not is_last:
        is_last = bool(content[place] & _LAST_BLOCK)
        place += 4 + int.from_bytes(content[place + 1 : place + 4], "big")
    # All frames of full length have this in common with the first one.
    beginning = content[place : place + 3]
    if not beginning.startswith(_FIXED_LENGTH):
        return 0
    last = content.rfind(beginning)
    before = content.rfind(beginning, place, last)
    number = _frame_number(content[last + 4 : last + 10])
    # Neighbours have neighbouring numbers; samples that look like a frame have not.
    if before < 0 or number != _frame_number(content[before + 4 : before + 10]) + 1:
        return 0
    return number * int.from_bytes(content[start + _LENGTH : start + _LENGTH + 2], "big")


def _frame_number(code: bytes) -> int:
    """Reads a number that is coded as UTF-8 codes characters."""
    num_ones = 8 - (code[0] ^ 0xFF).bit_length()
    number = code[0] & (0x7F >> num_ones)
    for byte in code[1 : max(num_ones, 1)]:
        number = number << 6 | byte & 0x3F
    return number

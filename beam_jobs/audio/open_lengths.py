"""Files whose headers leave open how much sound follows.

Programs write their headers first, and complete them at the end. Those that were killed before, or
that wrote to a pipe, leave a length of 0, or the longest that there is, in WAV, RF64, AU, AIFF and
CAF.
"""

import io
from collections.abc import Iterator
from typing import BinaryIO, Literal, cast

from beam_jobs.audio.endings import LENGTH_OF_A_PIPE
from beam_jobs.audio.ogg import ByteRange

# More than the headers of recorders, which have pages of notes in them.
_MAX_HEAD_BYTES = 1 << 24

_AU_BYTE_ORDERS: dict[bytes, Literal["big", "little"]] = {b".snd": "big", b"dns.": "little"}
_RIFF_LIKE = (b"RIFF", b"RF64", b"BW64", b"FORM")

# What libsndfile takes for "up to the end of the file", in formats with lengths of four bytes.
_TO_THE_END = b"\xff" * 4


def with_true_length(file: BinaryIO) -> BinaryIO | None:
    """Returns a file with a header that has the length of its sound, as libsndfile understands it.

    What follows an open header is sound, except for the chunks that programs write behind it:
    these follow the header of a recording that is empty.

    Args:
        file: that libsndfile finds nothing in; at any position.

    Returns:
        The same samples behind another header; None if the header leaves nothing open, or if
        nothing follows it.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = bytearray(file.read(min(size, _MAX_HEAD_BYTES)))
    kind = bytes(head[:4])
    if kind in _AU_BYTE_ORDERS:
        start = _complete_au(head, _AU_BYTE_ORDERS[kind])
    elif kind in _RIFF_LIKE:
        start = _complete_riff(head, size, "big" if kind == b"FORM" else "little")
    elif kind == b"caff":
        start = _complete_caf(head, size)
    else:
        return None
    if not start or start >= size:
        return None
    content = ByteRange(file, start, size, head=bytes(head[:start]))
    return cast(BinaryIO, io.BufferedReader(content))


def _complete_au(head: bytearray, byte_order: Literal["big", "little"]) -> int:
    """Completes a header in place; returns where the sound begins, or 0 if nothing is open."""
    start, length = (int.from_bytes(head[place : place + 4], byte_order) for place in (4, 8))
    if not _is_open(length):
        return 0
    head[8:12] = _TO_THE_END
    return start


def _complete_riff(head: bytearray, size: int, byte_order: Literal["big", "little"]) -> int:
    places = dict(_chunks(head, 12, 4, byte_order))
    place = places.get(b"data") or places.get(b"SSND")
    if place is None:
        return 0
    if b"ds64" in places:
        length_place = places[b"ds64"] + 16
        length = int.from_bytes(head[length_place : length_place + 8], "little", signed=True)
        start = place + 8
        is_open = length <= 0
        head[length_place : length_place + 8] = (size - start).to_bytes(8, "little")
        head[length_place - 8 : length_place] = (size - 8).to_bytes(8, "little")
    else:
        # The sound of AIFF begins with two numbers about its blocks.
        num_before = 8 if b"SSND" in places else 0
        start = place + 8 + num_before
        is_open = _is_open(int.from_bytes(head[place + 4 : place + 8], byte_order), num_before)
        head[place + 4 : place + 8] = _TO_THE_END
        if b"COMM" in places:
            head[places[b"COMM"] + 10 : places[b"COMM"] + 14] = _TO_THE_END
    return start if is_open and not _are_chunks(head, start, size, 4, byte_order) else 0


def _complete_caf(head: bytearray, size: int) -> int:
    place = dict(_chunks(head, 8, 8, "big")).get(b"data")
    if place is None:
        return 0
    # The sound begins with the number of its edits.
    num_before = 4
    start = place + 12 + num_before
    length = int.from_bytes(head[place + 4 : place + 12], "big", signed=True)
    is_open = 0 <= length <= num_before
    head[place + 4 : place + 12] = (size - start + num_before).to_bytes(8, "big")
    return start if is_open and not _are_chunks(head, start, size, 8, "big") else 0


def _is_open(length: int, num_before: int = 0) -> bool:
    return length <= num_before or length >= LENGTH_OF_A_PIPE


def _chunks(
    head: bytes, place: int, size_bytes: int, byte_order: Literal["big", "little"]
) -> Iterator[tuple[bytes, int]]:
    """Yields the name and the place of each chunk, up to that of the sound."""
    while place + 4 + size_bytes <= len(head):
        name = bytes(head[place : place + 4])
        yield name, place
        if name in (b"data", b"SSND"):
            return
        length = int.from_bytes(head[place + 4 : place + 4 + size_bytes], byte_order)
        # In formats with short lengths, chunks begin at even places.
        place += 4 + size_bytes + length + (length % 2 if size_bytes == 4 else 0)


def _are_chunks(
    head: bytes, place: int, size: int, size_bytes: int, byte_order: Literal["big", "little"]
) -> bool:
    """Returns whether chunks, one after the other, reach from a place to the end of the file."""
    while place + 4 + size_bytes <= min(size, len(head)):
        if not all(0x20 <= letter < 0x7F for letter in head[place : place + 4]):
            return False
        length = int.from_bytes(head[place + 4 : place + 4 + size_bytes], byte_order)
        place += 4 + size_bytes + length
        if place < size and size_bytes == 4:
            place += length % 2
    return place == size

"""Text files that users write, in whatever encoding their editor or spreadsheet saves."""

import codecs
import gzip
import io
import math
import os
import re
from collections.abc import Iterator
from typing import BinaryIO, cast

from beam_jobs.storage import files
from schemas.errors import UserError

_BLOCK_BYTES = 1 << 16

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# A text begins with a character that has a byte, of which UTF-16 makes two.
_UNMARKED_UTF_16 = re.compile(rb"\0[^\0]|[^\0]\0", re.DOTALL)
_UTF_32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)

# `float` takes more for a number than a text may have: nan, 1_000, and digits of any script.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class TextError(UserError):
    """A file that is not text in a known encoding; the message says where, and what to do."""


def read_lines(path: str, *, compressed: bool = False, unchecked: bool = False) -> Iterator[str]:
    r"""Yields the lines of a text file as they are read, each but perhaps the last ending in `\n`.

    The file is in UTF-8, with or without a byte order mark, or in UTF-16 with one, as Windows
    writes it. Its lines may end as on any system, Windows and old Macs among them.

    Args:
        path: of the file; its suffix says nothing.
        compressed: whether to decompress it as gzip.
        unchecked: whether to yield a line that can't be read as well, with a surrogate in it for
            each bad byte, for callers who can do without that line.

    Raises:
        TextError: the file is in another encoding, or is not text; the message has the first line
            that can't be read.
        OSError: the file can't be read.
    """
    if not files.is_remote(path) and os.path.isdir(path):
        raise TextError(f"{path}: a folder, where a text file should be")
    with files.open_file(path) as stored:
        file = cast(BinaryIO, gzip.GzipFile(fileobj=stored)) if compressed else stored
        for number, line in enumerate(_split(_decode(path, file)), start=1):
            if not unchecked:
                _check(path, number, line)
            yield line


def read_text(path: str) -> str:
    r"""Returns the content of a small text file, with its lines ending in `\n`.

    Raises:
        TextError: as `read_lines`.
        OSError: the file can't be read.
    """
    return "".join(read_lines(path))


def parse_number(value: object) -> float | None:
    """Returns a finite number that is given as one, or as the text of one; None for others."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def escape(line: str) -> str:
    r"""Returns a line of `read_lines` with `\xff` in it for each byte that is not UTF-8."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return re.sub(r"[\ud800-\udfff]", lambda found: _show_byte(found[0]), line)
    return line


def _decode(path: str, file: BinaryIO) -> Iterator[str]:
    block = file.read(_BLOCK_BYTES)
    if block.startswith(_UTF_32_MARKS):
        raise TextError(f"{path}: is in UTF-32: save it as UTF-8")
    if _UNMARKED_UTF_16.match(block):
        raise TextError(f"{path}: is in UTF-16 without a byte order mark: save it as UTF-8")
    # What can't be decoded becomes surrogates, which show later in which line they are.
    encoding, errors = "utf-8-sig", "surrogateescape"
    if block.startswith(_UTF_16_MARKS):
        encoding, errors = "utf-16", "surrogatepass"
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)(errors), translate=True
    )
    while block:
        yield decoder.decode(block)
        block = file.read(_BLOCK_BYTES)
    try:
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise TextError(f"{path}: ends within a character: copy or save it again") from None


def _split(texts: Iterator[str]) -> Iterator[str]:
    """Yields the lines of a text that comes in parts of any length."""
    begun: list[str] = []
    for text in texts:
        first, *others = text.split("\n")
        begun.append(first)
        for other in others:
            yield "".join(begun) + "\n"
            begun = [other]
    if last := "".join(begun):
        yield last


def _show_byte(surrogate: str) -> str:
    return ascii(surrogate).strip("'").replace("\\udc", "\\x")


def _check(path: str, number: int, line: str) -> None:
    if "\0" in line:
        raise TextError(
            f"{path}: line {number} has NUL characters: the file is not text, or is in UTF-16"
            " without a byte order mark: save it as UTF-8"
        )
    try:
        line.encode()
    except UnicodeEncodeError as error:
        bad = _show_byte(line[error.start])
        raise TextError(
            f"{path}: line {number} is not in UTF-8 ({bad}): save the file as UTF-8, or convert it:"
            " iconv -f LATIN1 -t UTF-8"
        ) from None

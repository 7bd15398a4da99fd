"""CSV files that have a header, as recipes are given in."""

import csv
import itertools
from collections.abc import Iterator

from beam_jobs.corpora.manifest import read_lines
from beam_jobs.runtime.dead_letters import Rejected

_BYTE_ORDER_MARK = "\ufeff"


def column_names(header: str) -> list[str]:
    """Returns the names of the columns in a line that is a header."""
    return _strip_names(next(csv.reader([header.removeprefix(_BYTE_ORDER_MARK)]), []))


def read_table(path: str) -> tuple[list[str], Iterator[tuple[int, list[str]] | Rejected]]:
    """Reads a CSV file.

    Args:
        path: of the file; `.gz` is decompressed.

    Returns:
        The names of the columns, and an iterator over the lines below the header: the number of
        each and its fields, or what is wrong with it. Blank lines are left out.
    """
    lines = read_lines(path)
    header = next(lines, "").removeprefix(_BYTE_ORDER_MARK)
    reader = csv.reader(itertools.chain([header], lines))
    columns = _strip_names(next(reader, []))

    def read_fields() -> Iterator[tuple[int, list[str]] | Rejected]:
        for fields in reader:
            if len(fields) == len(columns):
                yield reader.line_num, fields
            elif fields:
                reason = f"{len(fields)} fields where {len(columns)} belong"
                yield Rejected(f"{path}:{reader.line_num}", reason)

    return columns, read_fields()


def _strip_names(fields: list[str]) -> list[str]:
    return [field.strip() for field in fields]

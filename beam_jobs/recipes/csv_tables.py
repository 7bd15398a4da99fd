"""CSV files that have a header, as recipes are given in."""

import csv
from collections import Counter
from collections.abc import Iterator

from beam_jobs.corpora.manifest import BadLineError, check_line, read_lines
from beam_jobs.runtime.dead_letters import Rejected
from schemas.errors import UserError


def column_names(header: str) -> list[str]:
    """Returns the names of the columns in a line that is a header; none if it can't be one."""
    try:
        return [field.strip() for field in _parse(header)]
    except BadLineError:
        return []


def read_table(path: str) -> tuple[list[str], Iterator[tuple[int, list[str]] | Rejected]]:
    """Reads a CSV file.

    Args:
        path: of the file; `.gz` is decompressed.

    Returns:
        The names of the columns, and an iterator over the lines below the header: the number of
        each and its fields, or what is wrong with it. Blank lines are left out.

    Raises:
        UserError: two columns have the same name.
    """
    lines = read_lines(path)
    columns = column_names(next(lines, ""))
    for name, count in Counter(columns).items():
        if name and count > 1:
            raise UserError(f"{path}: {name!r} is in the header {count} times")

    def read_fields() -> Iterator[tuple[int, list[str]] | Rejected]:
        for number, line in enumerate(lines, 2):
            if not line:
                continue
            try:
                fields = _parse(line)
            except BadLineError as error:
                yield Rejected(f"{path}:{number}", str(error))
                continue
            if len(fields) == len(columns):
                yield number, fields
            else:
                reason = f"{len(fields)} fields where {len(columns)} belong"
                yield Rejected(f"{path}:{number}", reason)

    return columns, read_fields()


def _parse(line: str) -> list[str]:
    # Line by line: no path has the end of a line in it, and a quote that is never closed would take
    # the rest of the file into one field.
    check_line(line)
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise BadLineError(f"not CSV: {error}") from None

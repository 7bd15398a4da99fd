"""What manifests have in common: text files that list utterances, one a line."""

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.errors import UserError

# So many lines tell what a manifest is, even if some of them are broken.
_NUM_PROBED = 20


class BadLineError(UserError):
    """A line of a manifest can't be used; the message says why."""


def read_lines(path: str) -> Iterator[str]:
    """Yields the lines of a text file, without their ends; `.gz` is decompressed.

    What is not UTF-8 is escaped, and so names no file.
    """
    with files.open_file(path, compressed=path.endswith(".gz")) as file:
        # Beam's files have lines, but are no iterators of them.
        for line in iter(file.readline, b""):
            yield line.decode(errors="backslashreplace").rstrip("\r\n")


def read_candidates(
    path: str, parse: Callable[[str], Iterable[Candidate]], *, header_lines: int = 0
) -> Iterator[Candidate | Rejected]:
    """Yields the utterances of all lines, each with the line that it is from.

    Args:
        path: of the manifest.
        parse: yields the utterances of one line, or raises `BadLineError`.
        header_lines: how many lines to pass over first; blank ones are passed over anywhere.
    """
    for number, line in enumerate(read_lines(path), 1):
        if number <= header_lines or not line.strip():
            continue
        origin = f"{path}:{number}"
        try:
            for candidate in parse(line):
                yield dataclasses.replace(candidate, origin=origin)
        except BadLineError as error:
            yield Rejected(origin, str(error))


def parse_object(line: str) -> dict[str, Any]:
    """Parses a line of a JSONL file.

    Raises:
        BadLineError: it is not a JSON object.
    """
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadLineError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise BadLineError("not a JSON object")
    return row


def first_object(corpus: Corpus) -> dict[str, Any]:
    """The first JSON object of a corpus's manifest; empty where none is near its beginning."""
    if corpus.manifest:
        path = files.join(corpus.root, corpus.manifest)
        for line in itertools.islice(read_lines(path), _NUM_PROBED):
            try:
                return parse_object(line)
            except BadLineError:
                continue
    return {}


def object_field(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The JSON object that a row has under a name.

    Raises:
        BadLineError: it has none.
    """
    value = row.get(name)
    if not isinstance(value, dict):
        raise BadLineError(f"no {name!r}, or not an object")
    return value


def objects_field(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The list of JSON objects that a row has under a name.

    Raises:
        BadLineError: it has none.
    """
    values = row.get(name)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise BadLineError(f"no {name!r}, or not a list of objects")
    return values


def text_field(row: Mapping[str, Any], *names: str) -> str:
    """The text, or the whole number, that a row has under the first of some names.

    Raises:
        BadLineError: it has none.
    """
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int) and str(value):
            return str(value)
    raise BadLineError(f"no {' or '.join(map(repr, names))}")


def seconds_field(row: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """The number of seconds, which may be less than 0, that a row has under a name.

    Raises:
        BadLineError: it has none, or something else.
    """
    value = row.get(name, default)
    if value is None:
        raise BadLineError(f"no {name!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BadLineError(f"{name!r} is not a number of seconds: {value!r}")
    return number


def corpus_path(corpus: Corpus, path: str) -> str:
    """A path of a manifest as recipes have it: relative to the corpus, unless it leads elsewhere.

    Raises:
        BadLineError: it leads to another file system.
    """
    prefix = corpus.root.rstrip("/") + "/"
    if path.startswith(prefix):
        return path[len(prefix) :]
    if files.is_remote(path):
        raise BadLineError("on another file system than the manifest: copy one to the other")
    if files.is_remote(corpus.root):
        return path
    root = os.path.abspath(corpus.root)
    absolute = os.path.normpath(os.path.join(root, path))
    relative = os.path.relpath(absolute, root)
    return absolute if relative.startswith("..") else relative

"""Reads manifests: text files that list utterances, one a line."""

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

# Enough lines to recognise a manifest by, even if some of them are broken.
_NUM_PROBED = 20


class BadLineError(UserError):
    """A line of a manifest that can't be used; the message says why."""


def read_lines(path: str) -> Iterator[str]:
    """Yields the lines of a text file, without their ends; `.gz` is decompressed.

    Bytes that are not UTF-8 are escaped, so that a path with them names no file.
    """
    with files.open_file(path, compressed=path.endswith(".gz")) as file:
        # Beam's files have `readline`, but can't be iterated over.
        for line in iter(file.readline, b""):
            yield line.decode(errors="backslashreplace").rstrip("\r\n")


def read_candidates(
    path: str, parse: Callable[[str], Iterable[Candidate]], *, header_lines: int = 0
) -> Iterator[Candidate | Rejected]:
    """Yields the utterances in a manifest, and each line that can't be used.

    Args:
        path: of the manifest.
        parse: yields the utterances of one line, or raises `BadLineError`.
        header_lines: the number of lines to skip first; blank lines are skipped anywhere.
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
        document = json.loads(line)
    except ValueError as error:
        raise BadLineError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadLineError("not a JSON object")
    return document


def first_object(corpus: Corpus) -> dict[str, Any]:
    """Returns the first JSON object in the manifest of a corpus; empty if none is near the top."""
    if corpus.manifest:
        path = files.join(corpus.root, corpus.manifest)
        for line in itertools.islice(read_lines(path), _NUM_PROBED):
            try:
                return parse_object(line)
            except BadLineError:
                continue
    return {}


def object_field(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the JSON object that a document has under a name.

    Raises:
        BadLineError: it has none.
    """
    value = document.get(name)
    if not isinstance(value, dict):
        raise BadLineError(f"no {name!r}, or not an object")
    return value


def objects_field(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Returns the list of JSON objects that a document has under a name.

    Raises:
        BadLineError: it has none.
    """
    values = document.get(name)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise BadLineError(f"no {name!r}, or not a list of objects")
    return values


def text_field(document: Mapping[str, Any], *names: str) -> str:
    """Returns the text or whole number under the first of some names that a document has.

    Raises:
        BadLineError: it has none.
    """
    for name in names:
        value = document.get(name)
        if isinstance(value, str | int) and str(value):
            return str(value)
    raise BadLineError(f"no {' or '.join(map(repr, names))}")


def seconds_field(document: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """Returns the number of seconds that a document has under a name; it may be less than 0.

    Raises:
        BadLineError: it has none, or something else there.
    """
    value = document.get(name, default)
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
    """Returns a path from a manifest relative to the corpus, or absolute if it is outside.

    Raises:
        BadLineError: the path is on another file system.
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

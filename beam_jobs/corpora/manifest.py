"""Reads manifests: text files that list utterances, one a line."""

import dataclasses
import functools
import gzip
import itertools
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files, text
from schemas.errors import UserError

# Enough lines to recognise a manifest by, even if some of them are broken.
_NUM_PROBED = 20

# A cut of hours has a few megabytes. What is longer is no line of a manifest, and would be copied
# into the reason that it is rejected for.
_MAX_LINE_LENGTH = 1 << 24
_MAX_SHOWN = 100


class BadLineError(UserError):
    """A line of a manifest that can't be used; the message says why."""


def read_lines(path: str) -> Iterator[str]:
    """Yields the lines of a text file, without their ends; `.gz` is decompressed.

    Bytes that are not text are escaped, so that a path with them names no file.

    Raises:
        UserError: the whole file is not text, or not gzip as its name says.
    """
    return map(text.escape, _read_lines(path))


def _read_lines(path: str) -> Iterator[str]:
    """Yields the lines of a text file, with surrogates for bytes that are not text."""
    compressed = path.endswith(".gz")
    try:
        for line in text.read_lines(path, compressed=compressed, unchecked=True):
            yield line.removesuffix("\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: not a sound gzip file: {error}") from None


def check_line(line: str) -> None:
    """Checks that a line is one of text, of a length that somebody may have meant.

    Raises:
        BadLineError: it is not.
    """
    if len(line) > _MAX_LINE_LENGTH:
        raise BadLineError(f"a line of {len(line):,} characters")
    if "\0" in line:
        raise BadLineError("NUL characters: not text")


def shown(value: object) -> str:
    """Returns a value as messages show it."""
    written = repr(value)
    return written if len(written) <= _MAX_SHOWN else f"{written[:_MAX_SHOWN]}..."


def read_candidates(
    path: str, parse: Callable[[str], Iterable[Candidate]], *, header_lines: int = 0
) -> Iterator[Candidate | Rejected]:
    """Yields the utterances in a manifest, and each line that can't be used.

    Where only the transcript or the language in a line can't be used, the utterance goes without.

    Args:
        path: of the manifest.
        parse: yields the utterances of one line, with their transcript and language as the line has
            them, or raises `BadLineError`.
        header_lines: the number of lines to skip first; blank lines are skipped anywhere.
    """
    for number, raw_line in enumerate(_read_lines(path), 1):
        if number <= header_lines or not raw_line.strip():
            continue
        origin = f"{path}:{number}"
        line = text.escape(raw_line)
        try:
            check_line(line)
            for candidate in parse(line):
                said: tuple[str | None, str | None] = None, None
                try:
                    said = _find_said(candidate, is_text=line == raw_line)
                except BadLineError as error:
                    yield Rejected(origin, f"its transcript and language are left out: {error}")
                spoken, language = said
                yield dataclasses.replace(candidate, origin=origin, text=spoken, language=language)
        except BadLineError as error:
            yield Rejected(origin, str(error))
        except MemoryError:
            raise
        except Exception as error:
            # Nothing that a line has in it may end the job.
            yield Rejected.from_error(origin, error)


def _find_said(candidate: Candidate, *, is_text: bool) -> tuple[str | None, str | None]:
    if candidate.text and not is_text:
        raise BadLineError("not UTF-8: save the file as UTF-8")
    return transcript("text", candidate.text), transcript("language", candidate.language)


def transcript(name: str, value: object) -> str | None:
    """Returns a transcript, or a language, on one line; None for nothing.

    Args:
        name: of the value, for the error message.
        value: as a corpus has it.

    Raises:
        BadLineError: it is not text, or no file can hold it.
    """
    if value is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise BadLineError(f"{name!r} is not text: {shown(value)}")
    check_text(name, str(value))
    line = " ".join(str(value).split())
    # NeMo writes a dash where nobody has written down what is said.
    return None if line in ("", "-") else line


def parse_object(line: str, *, finite: bool = False) -> dict[str, Any]:
    """Parses a line of a JSONL file.

    Args:
        line: without its end.
        finite: whether to refuse numbers that are infinite or none, wherever they are.

    Raises:
        BadLineError: it is not a JSON object.
    """
    check_line(line)
    try:
        document = _parse_finite(line) if finite else json.loads(line)
    except ValueError as error:
        raise BadLineError(f"not JSON: {error}") from None
    except RecursionError:
        raise BadLineError("not JSON that can be read: nested too deeply") from None
    if not isinstance(document, dict):
        raise BadLineError("not a JSON object")
    return document


def _parse_finite(line: str) -> Any:
    return json.loads(line, parse_float=_finite, parse_constant=_finite)


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number} is not a number that can be used")
    return value


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
        BadLineError: it has none, or one that no file can hold.
    """
    for name in names:
        value = document.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            check_text(name, str(value))
            return str(value)
    raise BadLineError(f"no {' or '.join(map(repr, names))}")


def check_text(name: str, value: str) -> None:
    """Checks that a text can be the name of a file, of an utterance or of a speaker.

    Raises:
        BadLineError: it has half a character or a NUL in it.
    """
    if "\0" in value:
        raise BadLineError(f"{name!r} has a NUL character in it: {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadLineError(f"{name!r} has half a character in it: {shown(value)}") from None


def seconds_field(document: Mapping[str, Any], name: str) -> float:
    """Returns the number of seconds that a document has under a name; it may be less than 0.

    Raises:
        BadLineError: it has none, or something else there.
    """
    value = document.get(name)
    if value is None:
        raise BadLineError(f"no {name!r}")
    number = text.parse_number(value)
    if number is None:
        raise BadLineError(f"{name!r} is not a number of seconds: {shown(value)}")
    return number


def duration_field(document: Mapping[str, Any], name: str) -> float:
    """Returns the number of seconds, more than 0, that a document has under a name.

    Raises:
        BadLineError: it has none, or something else there.
    """
    duration_s = seconds_field(document, name)
    if duration_s <= 0:
        raise BadLineError(f"a {name} of {duration_s:g} s")
    return duration_s


def channel_field(value: object) -> int | None:
    """Returns the number of a channel, from 0, that a manifest gives; None if it gives none.

    Args:
        value: a number, or a list of one.

    Raises:
        BadLineError: it gives several, or something else.
    """
    channels = value if isinstance(value, list) else [] if value is None else [value]
    if len(channels) > 1:
        raise BadLineError(
            f"several channels, {shown(value)}: an utterance has one: give each its own line"
        )
    for channel in channels:
        if not isinstance(channel, int) or isinstance(channel, bool) or channel < 0:
            raise BadLineError(f"not a channel: {shown(channel)}: they are numbered from 0")
        return channel
    return None


def corpus_path(corpus: Corpus, path: str) -> str:
    """Returns a path from a manifest relative to the corpus, or absolute if it is outside.

    Raises:
        BadLineError: the path is on another file system.
    """
    path = files.expand(path) if path.startswith("file://") else path
    real_root = _real_root(corpus.root)
    for root in (corpus.root, real_root):
        prefix = root.rstrip("/") + "/"
        if path.startswith(prefix):
            return path[len(prefix) :]
    if files.is_remote(path):
        raise BadLineError("on another file system than the manifest: copy one to the other")
    if files.is_remote(corpus.root):
        return path
    below = _below_root(corpus.root, real_root, path)
    absolute = os.path.normpath(os.path.join(real_root, below))
    relative = os.path.relpath(absolute, real_root)
    return absolute if relative.startswith("..") else relative


@functools.lru_cache(maxsize=64)
def _real_root(root: str) -> str:
    return files.real_path(root)


def _below_root(root: str, real_root: str, path: str) -> str:
    """Returns a path of a manifest without the end of the root, if it begins with that.

    The tools that write manifests are run in a folder above it, and name files from there.
    """
    parts = path.split("/")
    for root_parts in (root.split("/"), real_root.split("/")):
        for count in range(min(len(root_parts), len(parts) - 1), 0, -1):
            if not parts[0] or root_parts[-count:] != parts[:count]:
                continue
            rest = "/".join(parts[count:])
            if os.path.exists(os.path.join(root, rest)) and not os.path.exists(
                os.path.join(root, path)
            ):
                return rest
    return path

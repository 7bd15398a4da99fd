"""The inputs of an archive, and the names of what is made of them."""

import dataclasses
import posixpath
import re
import string
from collections.abc import Sequence

from beam_jobs import files
from schemas.ledger import (
    LEDGER,
    REJECTED,
    REPORT,
    RUNS,
    SUMMARY,
    InputVersion,
    Parameters,
)

FIELDS = ("folder", "stem", "suffix", "source", "extension")
EXTENSIONS = {"wav": "wav", "flac": "flac", "opus": "opus"}

_MANIFEST_SUFFIXES = (".txt", ".lst")
_WILDCARD = re.compile(r"[*?\[]")


class NamingError(ValueError):
    """The inputs or their outputs can't be told apart; the message says which, and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class InputFile:
    """One file of the archive.

    Attributes:
        path: where it is.
        relative_path: its place in the tree that the outputs mirror.
    """

    path: str
    relative_path: str

    @property
    def stem(self) -> str:
        """Its place in the tree without the suffix."""
        return posixpath.splitext(self.relative_path)[0]

    @property
    def ledger_path(self) -> str:
        """Of its record in the ledger, relative to the output folder."""
        return f"{LEDGER}/{self.relative_path}.json"


def list_inputs(pattern: str, output: str) -> list[InputFile]:
    """Finds the files of an archive.

    Args:
        pattern: a glob pattern; or a manifest (.txt, .lst) with a path in each line, relative ones
            from the manifest's folder.
        output: the output folder; what lies in it is no input.

    Returns:
        Each file once, by path. A pattern's tree begins at its last folder without a wildcard. In a
        manifest, a relative path is its own place in the tree, and an absolute one is without its
        beginning (`gs://calls/a.wav` is `calls/a.wav`).

    Raises:
        NamingError: no file, or two with one place in the tree.
    """
    if pattern.endswith(_MANIFEST_SUFFIXES) and not _WILDCARD.search(pattern):
        inputs = _read_manifest(pattern)
    else:
        root = _root(pattern)
        paths = files.list_paths(root, pattern.removeprefix(root))
        inputs = [InputFile(path, path.removeprefix(root)) for path in paths]
    own = files.join(output, "")
    unique = {one.path: one for one in inputs if not one.path.startswith(own)}
    if not unique:
        raise NamingError(f"{pattern}: no such files")
    places: dict[str, InputFile] = {}
    for one in unique.values():
        other = places.setdefault(one.relative_path, one)
        if other is not one:
            raise NamingError(f"{other.path} and {one.path} have one place in the output's tree")
    return [unique[path] for path in sorted(unique)]


def input_version(path: str) -> InputVersion:
    """What tells the version of a file that is there now from any other.

    Raises:
        OSError: it is not there; BeamIOError is one.
    """
    return InputVersion(*files.version(path))


def output_paths(
    relative_path: str, source_names: Sequence[str], parameters: Parameters
) -> tuple[str, ...]:
    """The paths of a file's outputs, relative to the output folder, in the order of the sources.

    Raises:
        NamingError: the template has a field that there is not, or leads out of the folder.
    """
    extension = EXTENSIONS[parameters.audio_format]
    paths = []
    for source in source_names:
        filled = fill_template(
            parameters.name_template, relative_path, source=source, extension=extension
        )
        path = posixpath.normpath(filled.lstrip("/"))
        if path.split("/")[0] in ("..", ".", LEDGER, RUNS, REJECTED, SUMMARY, REPORT):
            raise NamingError(f"{relative_path}: {path!r} is no place for an output")
        paths.append(path)
    return tuple(paths)


def fill_template(template: str, relative_path: str, **fields: str) -> str:
    """Fills the fields {folder}, {stem} and {suffix} of a name template, and any others.

    Args:
        template: such as `{folder}/{stem}_{source}.wav`.
        relative_path: what gives the folder, the stem and the suffix.
        fields: the others.

    Raises:
        NamingError: the template has a field that there is not.
    """
    folder, name = posixpath.split(relative_path)
    stem, suffix = posixpath.splitext(name)
    fields = {"folder": folder, "stem": stem, "suffix": suffix.removeprefix(".")} | fields
    try:
        return string.Formatter().vformat(template, (), fields)
    except (KeyError, ValueError, IndexError, AttributeError):
        raise NamingError(
            f"{template!r} is not a name template: its fields can be "
            + ", ".join(f"{{{field}}}" for field in fields)
        ) from None


def check_collisions(
    inputs: Sequence[InputFile], source_names: Sequence[str], parameters: Parameters
) -> None:
    """Makes sure that no two outputs have one path.

    Raises:
        NamingError: the first two that do, and what to put in the template.
    """
    owners: dict[str, tuple[str, str]] = {}
    for one in inputs:
        paths = output_paths(one.relative_path, source_names, parameters)
        for source, path in zip(source_names, paths, strict=True):
            path_owner = owners.setdefault(path, (one.path, source))
            if path_owner != (one.path, source):
                field = "{source}" if path_owner[0] == one.path else "{folder}, {stem} and {suffix}"
                raise NamingError(
                    f"{source} of {one.path} and {path_owner[1]} of {path_owner[0]} would both be "
                    f"{path}: put {field} in the name template {parameters.name_template!r}"
                )


def _read_manifest(path: str) -> list[InputFile]:
    folder = path[: path.rfind("/") + 1]
    inputs = []
    for line in files.read_text(path).splitlines():
        entry = line.strip()
        if not entry:
            continue
        if files.is_remote(entry) or entry.startswith("/"):
            place = entry.split("://")[-1].lstrip("/")
            inputs.append(InputFile(entry, place))
            continue
        place = posixpath.normpath(entry)
        if place.startswith("../"):
            raise NamingError(f"{path}: {entry}: leaves the manifest's folder; write its full path")
        inputs.append(InputFile(folder + place, place))
    return inputs


def _root(pattern: str) -> str:
    wildcard = _WILDCARD.search(pattern)
    literal = pattern[: wildcard.start()] if wildcard else pattern
    return literal[: literal.rfind("/") + 1]

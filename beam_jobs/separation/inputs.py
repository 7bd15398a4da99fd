"""The files of an archive: finding them by a pattern or a manifest, and telling versions apart."""

import dataclasses
import posixpath
import re

from beam_jobs.storage import files
from schemas.errors import UserError
from schemas.ledger import InputVersion

_MANIFEST_SUFFIXES = (".txt", ".lst")
_WILDCARD = re.compile(r"[*?\[]")


class NamingError(UserError):
    """No inputs, or inputs or outputs with the same name; the message says what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class InputFile:
    """One file of the archive.

    Attributes:
        path: of the file.
        relative_path: its place in the tree, which the outputs mirror.
    """

    path: str
    relative_path: str

    @property
    def stem(self) -> str:
        """The place in the tree, without the suffix."""
        return posixpath.splitext(self.relative_path)[0]


def list_inputs(pattern: str, output: str) -> list[InputFile]:
    """Finds the files of an archive.

    Args:
        pattern: a glob pattern; or a manifest (.txt, .lst) with a path on each line, relative to
            the manifest's folder or absolute.
        output: the output folder, whose files are never inputs.

    Returns:
        Each file once, sorted by path. The tree of a pattern begins at its last folder without a
        wildcard. In a manifest, a relative path is also the place in the tree; an absolute one
        loses its beginning (`gs://calls/a.wav` becomes `calls/a.wav`).

    Raises:
        NamingError: there are no files, or two have the same place in the tree.
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
    """Returns the version of a file as it is now.

    Raises:
        OSError: there is no such file; BeamIOError is one.
    """
    return InputVersion(*files.version(path))


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
    """Returns the last folder of a pattern before its first wildcard."""
    wildcard = _WILDCARD.search(pattern)
    literal = pattern[: wildcard.start()] if wildcard else pattern
    return literal[: literal.rfind("/") + 1]

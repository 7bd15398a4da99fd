"""The files of an archive: finding them by folders, patterns and manifests, and their versions."""

import dataclasses
import functools
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from apache_beam.io.filesystem import FileSystem

from beam_jobs.audio.types import PYAV_SUFFIXES, SNDFILE_SUFFIXES
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from beam_jobs.storage.hard_links import find_hard_links
from beam_jobs.storage.text import read_lines
from beam_jobs.storage.tree import LEADS_OUT, Entry, is_in, is_stray, walk
from schemas.errors import UserError
from schemas.ledger import LEDGER, RUNS, InputVersion

AUDIO_SUFFIXES = SNDFILE_SUFFIXES | PYAV_SUFFIXES

_MANIFEST_SUFFIXES = (".txt", ".lst")
_WILDCARD = re.compile(r"[*?\[]")
_EVERYTHING = "**"


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


@dataclasses.dataclass(frozen=True, slots=True)
class Archive:
    """The contents of the folders, patterns and manifests that a command line names.

    Attributes:
        inputs: the files to separate, each once and sorted by path.
        rejected: what was found and can't be separated, such as folders that can't be read.
        num_no_audio: the files in folders that are no audio, judging by their suffixes, hidden, or
            in a trash or another folder of a system's own.
        num_other_names: the links to files, hard ones too, that are among the inputs under another
            name.
        earlier_outputs: the output folders of earlier runs, whose files are not inputs.
    """

    inputs: list[InputFile] = dataclasses.field(default_factory=list)
    rejected: list[Rejected] = dataclasses.field(default_factory=list)
    num_no_audio: int = 0
    num_other_names: int = 0
    earlier_outputs: list[str] = dataclasses.field(default_factory=list)

    def describe(self) -> str:
        """Returns a line of text for each kind of thing that is not an input."""
        folders = ", ".join(self.earlier_outputs)
        lines = {
            "files are no audio, hidden or thrown away, and were passed over": self.num_no_audio,
            "links lead to files that are separated under another name": self.num_other_names,
            f"folders hold outputs of earlier runs and were passed over: {folders}": len(
                self.earlier_outputs
            ),
        }
        return "".join(f"{number} {words}\n" for words, number in lines.items() if number)


@dataclasses.dataclass(frozen=True, slots=True)
class _Candidate:
    """A file that is perhaps an input.

    Attributes:
        file: the file, under the name by which it was found.
        real_path: its path without links.
        num_links: the links through which it was found.
    """

    file: InputFile
    real_path: str
    num_links: int


def list_archive(arguments: Sequence[str], output: str) -> Archive:
    """Finds the files of an archive.

    Args:
        arguments: full paths, each of
            - a folder, for all audio in it and in the folders below it;
            - a glob pattern, in which `**` goes through folders, for the audio that matches, or for
              all files that match if it ends in a suffix;
            - a manifest (.txt, .lst) with a path on each line, relative to the manifest's folder
              or absolute;
            - a file.
        output: the output folder, whose files are never inputs.

    Returns:
        Each file once, however many links lead to it. The tree begins at the folder, at the last
        folder of a pattern without a wildcard, or at a file's own folder. In a manifest, a relative
        path is also the place in the tree; an absolute one loses its beginning
        (`gs://calls/a.wav` becomes `calls/a.wav`).

    Raises:
        NamingError: there are no files, or two have the same place in the tree.
        TextError: a manifest is not text in a known encoding.
        OSError: a manifest can't be read.
    """
    search = _Search(output)
    for argument in arguments:
        search.look_for(argument)
    archive = search.result()
    if not archive.inputs and not archive.rejected:
        raise NamingError(f"{', '.join(arguments)}: no such files{search.reason_for_none()}")
    places: dict[str, InputFile] = {}
    for one in archive.inputs:
        other = places.setdefault(one.relative_path, one)
        if other is not one:
            raise NamingError(
                f"{other.path} and {one.path} have one place in the output's tree: give the folder"
                " above both as the --input, or each an --output of its own"
            )
    return archive


def input_version(path: str) -> InputVersion:
    """Returns the version of a file as it is now.

    Raises:
        OSError: there is no such file; BeamIOError is one.
    """
    return InputVersion(*files.version(path))


class _Search:
    """A search for the files of an archive."""

    def __init__(self, output: str) -> None:
        self._output = files.real_path(output)
        self._candidates: dict[str, _Candidate] = {}
        # With the patterns of the searches that met them.
        self._problems: dict[str, tuple[Entry, str]] = {}
        self._searched: list[tuple[str, str]] = []
        self._no_audio: set[str] = set()
        self._earlier_outputs: set[str] = set()
        self._meets_output = False

    def look_for(self, argument: str) -> None:
        """Looks for the files that an argument names."""
        root, pattern = _split(argument)
        if pattern and files.is_remote(root):
            self._search_remote(root, pattern)
        elif _is_folder(root):
            search_tree = self._search_remote if files.is_remote(root) else self._search_local
            search_tree(root if root.endswith("/") else f"{root}/", pattern or _EVERYTHING)
        elif pattern or not files.exists(argument):
            raise NamingError(f"{argument}: no such files")
        elif argument.endswith(_MANIFEST_SUFFIXES):
            for path, place in _read_manifest(argument):
                self._add(path, place)
        else:
            self._add(argument, posixpath.basename(argument))

    def result(self) -> Archive:
        """Returns what was found."""
        # A link may lead somewhere else tomorrow, so a file's own name is better.
        candidates = sorted(self._candidates.values(), key=lambda one: one.num_links)
        local = [one.real_path for one in candidates if not files.is_remote(one.real_path)]
        first_names = find_hard_links(map(os.path.dirname, local))
        inputs: dict[str, InputFile] = {}
        for one in candidates:
            inputs.setdefault(first_names.get(one.real_path, one.real_path), one.file)
        rejected = [
            Rejected(path, entry.problem)
            for path, (entry, pattern) in self._problems.items()
            if entry.problem != LEADS_OUT or not self._is_searched(entry.real_path, pattern)
        ]
        return Archive(
            inputs=sorted(inputs.values(), key=lambda file: file.path),
            rejected=rejected,
            num_no_audio=len(self._no_audio),
            num_other_names=len(candidates) - len(inputs),
            earlier_outputs=sorted(self._earlier_outputs),
        )

    def reason_for_none(self) -> str:
        """Returns the end of the message that nothing was found; empty if there is nothing."""
        reasons = []
        if self._meets_output:
            reasons.append(f"what is in the output folder {self._output} is never an input")
        if self._earlier_outputs:
            folders = ", ".join(sorted(self._earlier_outputs))
            reasons.append(f"the outputs of earlier runs in {folders} are not inputs")
        if self._no_audio:
            reasons.append(
                f"{len(self._no_audio)} are no audio, judging by their suffixes, hidden or thrown"
                " away"
            )
        return "".join(f"; {reason}" for reason in reasons)

    def _is_searched(self, real_path: str, pattern: str) -> bool:
        """Returns whether another argument finds everything in a folder that a pattern would."""
        return any(
            is_in(real_path, folder) and other in (_EVERYTHING, pattern)
            for folder, other in self._searched
        )

    def _add(self, path: str, place: str) -> None:
        """Adds a file that was named, and not found in a folder."""
        real_path = files.real_path(path)
        if is_in(real_path, self._output):
            self._problems[path] = Entry(path, real_path, 0, "is in the output folder"), ""
            self._meets_output = True
            return
        candidate = _Candidate(InputFile(path, place), real_path, int(path != real_path))
        self._candidates.setdefault(path, candidate)

    def _search_local(self, root: str, pattern: str) -> None:
        matches = _compile(pattern)
        self._searched.append((files.real_path(root), pattern))

        def enters(path: str, real_path: str) -> bool:
            if not _may_hold(pattern, path) or path in (LEDGER, RUNS):
                return False
            if is_in(real_path, self._output):
                self._meets_output = True
                return False
            if os.path.isdir(os.path.join(root, path, LEDGER)):
                self._earlier_outputs.add(os.path.join(root, path))
                return False
            return True

        for entry in walk(root, enters):
            path = os.path.join(root, entry.path)
            is_folder = entry.problem and _may_be_folder(path)
            if is_in(entry.real_path, self._output):
                self._meets_output = True
            elif is_folder:
                # Nobody but the system may look into its `lost+found`.
                is_wanted = not entry.path or _may_hold(pattern, entry.path)
                if is_wanted and not is_stray(f"{entry.path}/"):
                    self._problems[path] = entry, pattern
            elif not matches(entry.path):
                continue
            elif entry.problem and _is_meant(entry.path, pattern):
                self._problems[path] = entry, pattern
            else:
                file = InputFile(path, entry.path)
                self._add_found(_Candidate(file, entry.real_path, entry.num_links), pattern)

    def _search_remote(self, root: str, pattern: str) -> None:
        matches = _compile(pattern)
        beginning = _WILDCARD.split(pattern)[0]
        # Cloud Storage's web page makes an object with a slash at its end for each folder.
        paths = [
            path
            for path in files.find_paths(root, f"{beginning}{_EVERYTHING}")
            if not path.endswith("/")
        ]
        earlier = _output_folders(root, paths)
        for path in paths:
            place = path.removeprefix(root)
            folder = next((one for one in earlier if is_in(path, one)), "")
            if is_in(path, self._output):
                self._meets_output = True
            elif folder:
                self._earlier_outputs.add(folder)
            elif place.split("/")[0] not in (LEDGER, RUNS) and matches(place):
                self._add_found(_Candidate(InputFile(path, place), path, 0), pattern)

    def _add_found(self, candidate: _Candidate, pattern: str) -> None:
        """Adds a file that was found in a folder, unless it was not meant."""
        file = candidate.file
        if _is_meant(file.relative_path, pattern):
            self._candidates.setdefault(file.path, candidate)
        else:
            self._no_audio.add(file.path)


def _split(argument: str) -> tuple[str, str]:
    """Divides an argument into a path and a pattern of paths below it, which is perhaps empty.

    Names with brackets or stars in them are no patterns if there are such files or folders.
    """
    if not _WILDCARD.search(argument) or _is_literal(argument):
        return argument, ""
    parts = argument.split("/")
    for index, part in enumerate(parts):
        folder = "/".join(parts[: index + 1])
        if _WILDCARD.search(part) and not _is_folder(folder):
            return "/".join(parts[:index]) + "/", "/".join(parts[index:])
    return argument, ""


def _is_literal(path: str) -> bool:
    return _is_folder(path) or (not _is_surely_a_pattern(path) and files.exists(path))


def _is_folder(path: str) -> bool:
    if not files.is_remote(path):
        return os.path.isdir(path)
    return not _is_surely_a_pattern(path) and any(files.find_paths(path, _EVERYTHING))


def _is_surely_a_pattern(path: str) -> bool:
    # Hardly an object has a star in its name, and looking for one takes time.
    return files.is_remote(path) and ("*" in path or "?" in path)


def _may_be_folder(path: str) -> bool:
    """Returns whether a path is a folder, or a dangling link that may have led to one."""
    name = os.path.basename(path)
    is_link = os.path.islink(path) and not os.path.splitext(name)[1] and not name.startswith(".")
    return os.path.isdir(path) or is_link


def _is_meant(place: str, pattern: str) -> bool:
    """Returns whether a file is audio, or is named by its suffix in a pattern such as `*.mkv`.

    What is hidden is meant only where the pattern says so, as in shells.

    Args:
        place: the path of the file, relative to the root of the pattern.
        pattern: the pattern.
    """
    if is_stray(place) and not is_stray(pattern):
        return False
    named = re.split(r"[*?\]]", pattern)[-1]
    suffix = posixpath.splitext(place)[1].lower()
    return "." in posixpath.basename(named) or suffix in AUDIO_SUFFIXES


@functools.cache
def _compile(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Returns a function that tells whether a relative path matches a pattern of Beam's.

    Unlike there, `**/` also means no folder at all, as it does in shells, and names may have
    backslashes.
    """
    expression = FileSystem.translate_pattern(pattern).replace(r"[^/\\]*", "[^/]*")
    expression = re.sub(r"(?:(?<=\(\?ms\))|(?<=/))\.\*/", "(?:.*/)?", expression)
    return re.compile(expression).match


def _may_hold(pattern: str, folder: str) -> bool:
    """Returns whether files below a folder may match a pattern, both relative to the same root."""
    parts, names = pattern.split("/"), folder.split("/")
    for part, name in zip(parts, names, strict=False):
        if _EVERYTHING in part:
            return True
        if not _compile(part)(name):
            return False
    return len(names) < len(parts)


def _output_folders(root: str, paths: Iterable[str]) -> set[str]:
    """Returns the folders below the root that have a ledger, from the paths of all files."""
    marker = f"/{LEDGER}/"
    folders = (path[: path.index(marker)] for path in paths if marker in path)
    return {folder for folder in folders if folder != root.rstrip("/")}


def _read_manifest(path: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the place in the tree of each file that a manifest names."""
    folder = path[: path.rfind("/") + 1]
    for line in read_lines(path):
        entry = line.strip()
        if not entry:
            continue
        if entry.startswith(("~/", "file://")):
            entry = files.absolute(entry)
        if files.is_remote(entry) or entry.startswith("/"):
            yield entry, entry.split("://")[-1].lstrip("/")
            continue
        place = posixpath.normpath(entry)
        if place.startswith("../"):
            raise NamingError(f"{path}: {entry}: leaves the manifest's folder; write its full path")
        yield folder + place, place

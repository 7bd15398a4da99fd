"""Corpora, their candidates, and the interface of the modules that know a layout."""

import dataclasses
import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from beam_jobs.audio.types import PYAV_SUFFIXES, SNDFILE_SUFFIXES
from beam_jobs.corpora.own_outputs import find_writer
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage.files import absolute, exists, find_paths, is_remote, join, real_path
from beam_jobs.storage.tree import is_stray
from schemas.errors import UserError

AUDIO_SUFFIXES = SNDFILE_SUFFIXES | PYAV_SUFFIXES

# The options that name corpora in which nobody speaks.
SOUNDS = ("noise", "rooms")

# Enough paths to tell a layout from stray files, and folders from all over a corpus; few enough to
# be listed in a second. A page of a listing of Cloud Storage has 1000.
_SAMPLED_FOLDERS = 24
_SAMPLED_PER_FOLDER = 200
_SAMPLED_REMOTELY = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus, as the command line names it.

    Attributes:
        name: the last part of its path, by which recipes refer to the corpus.
        root: the folder that its paths are relative to, an absolute path.
        pattern: the glob pattern of its files, relative to the root; empty for all files.
        layout: the name of a layout, or one of `SOUNDS`; empty to recognise the layout.
        speaker_regex: finds the speaker in a path; empty if the layout does.
        manifest: the file in the root that lists the utterances, if `--corpus` names one.
    """

    name: str
    root: str
    pattern: str = ""
    layout: str = ""
    speaker_regex: str = ""
    manifest: str = ""

    @property
    def description(self) -> str:
        """The corpus in words that do not depend on its folder's place."""
        parts = (self.name, self.manifest, self.pattern, self.layout, self.speaker_regex)
        return " ".join(part for part in parts if part)

    @property
    def real_root(self) -> str:
        """The root with all links resolved, to see whether two corpora are the same files."""
        return real_path(self.root)


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """An utterance whose file has not been opened yet.

    Attributes:
        path: the file, relative to the corpus.
        utterance: the id, unique within the corpus.
        speaker: the speaker's id, unique within the corpus.
        gender: `f`, `m`, or empty if the corpus does not say.
        split: the corpus's own split, or empty.
        start_s: the start in the file, in seconds.
        stop_s: the end in the file, in seconds; None for the end of the file.
        origin: the line of a manifest that names the file, such as `wav.scp:3`, or empty.
        channel: of the file, from 0; None for all of them.
        mono_is_channel: whether a file with one channel is `channel` already, cut out of a
            recording with more of them.
        needs_channel: whether a file with several channels can't be used without a `channel`.
        text: what is said, on one line; None if the corpus does not say.
        language: in which it is said, as the corpus spells it; None if the corpus does not say.
    """

    path: str
    utterance: str
    speaker: str
    gender: str = ""
    split: str = ""
    start_s: float = 0.0
    stop_s: float | None = None
    origin: str = ""
    channel: int | None = None
    mono_is_channel: bool = False
    needs_channel: bool = False
    text: str | None = None
    language: str | None = None


Found = tuple[Corpus, Candidate | Rejected]
"""A corpus and one of its candidates, or something in it that can't be one."""


class Layout(Protocol):
    """A module that finds the utterances of corpora with one layout."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """The name of the layout for `--corpus_format`."""

    @property
    def LICENSES(self) -> tuple[str, ...]:  # noqa: N802
        """The licences of the corpora of this layout, as SPDX spells them.

        Empty if anybody's corpus may have it; several if releases differ.
        """

    def recognises(self, corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
        """Returns whether a corpus has this layout, judging by some of its paths."""

    def candidates(self, corpus: Corpus) -> Iterator[Candidate | Rejected]:
        """Yields every utterance, and every file that does not fit the layout with the reason."""


def parse_corpora(
    arguments: Sequence[str], layout: str = "", speaker_regex: str = ""
) -> tuple[Corpus, ...]:
    """Makes corpora of the folders, manifests and glob patterns of a command line.

    Raises:
        UserError: a folder or manifest does not exist, two corpora have one name, a pattern is
            without a way to find the speaker, or a manifest has one too many.
    """
    corpora = tuple(_parse_corpus(argument, layout, speaker_regex) for argument in arguments)
    if any(corpus.pattern for corpus in corpora):
        # Beside a pattern, the regex is the pattern's, and folders keep their own layout.
        corpora = tuple(
            corpus if corpus.pattern else dataclasses.replace(corpus, speaker_regex="")
            for corpus in corpora
        )
    elif speaker_regex and all(corpus.manifest for corpus in corpora):
        raise UserError(
            f"--speaker_regex={speaker_regex}: a manifest says itself who speaks: leave one of them"
            " out"
        )
    check_names(corpora)
    return corpora


def check_names(corpora: Iterable[Corpus]) -> None:
    """Checks that recipes can refer to each corpus by its name.

    Raises:
        UserError: two corpora have the same name.
    """
    roots: dict[str, str] = {}
    for corpus in corpora:
        if corpus.name in roots:
            raise UserError(
                f"--{corpus.layout if corpus.layout in SOUNDS else 'corpus'}: both"
                f" {roots[corpus.name]} and {corpus.root} would be called {corpus.name!r}: rename"
                " one of them"
            )
        roots[corpus.name] = corpus.root


def _parse_corpus(argument: str, layout: str, speaker_regex: str) -> Corpus:
    root, pattern = argument, ""
    if not argument.endswith("/") and not os.path.isdir(argument) and exists(argument):
        root, manifest = os.path.split(argument)
        name = re.sub(r"(\.\w+)(\.gz)?$", "", manifest)
        return Corpus(name, absolute_root(root or "."), layout=layout, manifest=manifest)
    if re.search(r"[*?[]", argument) and not os.path.exists(argument):
        root, pattern = split_pattern(argument)
    if not is_remote(root) and not os.path.isdir(root):
        raise UserError(f"--corpus={argument}: there is no folder or manifest {root}")
    if pattern or speaker_regex or layout == "pattern":
        _check_speaker_regex(argument, speaker_regex)
    return Corpus(folder_name(root), absolute_root(root), pattern, layout, speaker_regex)


def split_pattern(argument: str) -> tuple[str, str]:
    """Returns the folder that a glob pattern begins with, and the pattern in it."""
    parts = argument.split("/")
    wild = next(index for index, part in enumerate(parts) if re.search(r"[*?[]", part))
    # A folder may have brackets in its name.
    while wild + 1 < len(parts) and os.path.isdir("/".join(parts[: wild + 1])):
        wild += 1
    root = "/".join(parts[:wild]) or ("/" if argument.startswith("/") else ".")
    return root, "/".join(parts[wild:])


def match_files(argument: str) -> list[str]:
    """Returns the file that an argument names, or those that match it as a glob pattern, sorted."""
    if exists(argument):
        return [argument]
    if not re.search(r"[*?[]", argument):
        return []
    return sorted(find_paths(*split_pattern(argument)))


def absolute_root(folder: str) -> str:
    """Returns the absolute path of a folder of a command line, under the name that it has there."""
    if is_remote(folder) or ".." not in folder.split("/"):
        return absolute(folder)
    # The folder above a link is the one above its target.
    above, name = os.path.split(folder.rstrip("/"))
    if name == "..":
        return os.path.realpath(folder)
    return join(os.path.realpath(above), name)


def folder_name(root: str) -> str:
    """Returns the name of a corpus in a folder."""
    name = os.path.basename(root.rstrip("/") if is_remote(root) else absolute_root(root))
    return name or "corpus"


def _check_speaker_regex(argument: str, speaker_regex: str) -> None:
    if not speaker_regex:
        raise UserError(
            f"--corpus={argument}: a pattern needs --speaker_regex, to find the speaker in a path,"
            " such as '([^/]+)/[^/]*$' for the folder's name"
        )
    try:
        groups = re.compile(speaker_regex).groups
    except re.error as error:
        raise UserError(f"--speaker_regex={speaker_regex}: {error}") from None
    if groups != 1:
        raise UserError(f"--speaker_regex={speaker_regex}: put the speaker, alone, in parentheses")


def audio_paths(corpus: Corpus) -> Iterator[str]:
    """Yields the path of each audio file, relative to the corpus, in any order.

    Files without a suffix of audio, such as transcripts or a licence, are skipped. A folder that is
    a link, can't be read, or has outputs of this program is yielded itself, ending in a slash, for
    the catalogue to reject.
    """
    if is_remote(corpus.root):
        paths = _remote_paths(corpus)
    elif corpus.pattern:
        paths = glob.iglob(corpus.pattern, root_dir=corpus.root, recursive=True)
    else:
        paths = _local_paths(corpus.root)
    return filter(_is_audio, paths)


def _is_audio(path: str) -> bool:
    return path.endswith("/") or os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES


def sample_paths(corpus: Corpus) -> list[str]:
    """Returns some of the paths that `audio_paths` yields, from all over a corpus.

    Files that are no part of any corpus are left out, such as those in a trash.
    """
    if is_remote(corpus.root) or corpus.pattern:
        paths = list(itertools.islice(audio_paths(corpus), _SAMPLED_REMOTELY))
    else:
        paths = list(_local_sample(corpus.root))
    return [path for path in paths if not path.endswith("/") and not is_stray(path)]


def most_match(pattern: re.Pattern[str], paths: Sequence[str]) -> bool:
    """Returns whether a regular expression is found in more than half of some paths.

    A corpus may have a few files that are not its own.
    """
    return 2 * sum(bool(pattern.search(path)) for path in paths) > len(paths)


def find_beside(corpus: Corpus, *names: str) -> str | None:
    """Finds a file in the folder of a corpus, or in the one above if the corpus is a part of it.

    Args:
        corpus: the corpus.
        names: of the file, the best first, in any letter case.

    Returns:
        The path of the first that there is, or None.
    """
    for folder in (corpus.root, os.path.dirname(corpus.root.rstrip("/"))):
        found = _spellings(folder, names)
        for name in names:
            if name.lower() in found:
                return found[name.lower()]
    return None


def _spellings(folder: str, names: Sequence[str]) -> dict[str, str]:
    """Returns the files in a folder that have some names, by their names in lower case."""
    if is_remote(folder):
        # A listing would go through all the files below.
        stems = (os.path.splitext(name) for name in names)
        candidates = (
            spelt + ending
            for stem, suffix in stems
            for spelt in dict.fromkeys((stem, stem.lower(), stem.upper(), stem.capitalize()))
            for ending in (suffix.lower(), suffix.upper())
        )
        paths = (join(folder, name) for name in candidates)
        found = [path for path in paths if exists(path)]
    else:
        try:
            found = [join(folder, name) for name in sorted(os.listdir(folder), reverse=True)]
        except OSError:
            # The folder above a corpus may be nobody's business.
            return {}
    return {os.path.basename(path).lower(): path for path in found}


def parse_gender(text: str) -> str:
    """Returns `f` or `m` for a corpus's word for a gender; empty for anything else."""
    letter = text.strip().lower()[:1]
    return letter if letter in ("f", "m") else ""


def _remote_paths(corpus: Corpus) -> Iterator[str]:
    prefix = corpus.root.rstrip("/") + "/"
    for path in find_paths(corpus.root, corpus.pattern or "**"):
        # Cloud Storage's web page makes an object with a slash at its end for each folder.
        if not path.endswith("/"):
            yield path[len(prefix) :]


def _local_sample(root: str) -> Iterator[str]:
    """Yields the first audio files in the root, and in each of some folders in it."""
    with os.scandir(root) as entries:
        listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    names = [name for name, is_folder in listed if not is_folder]
    yield from itertools.islice(filter(_is_audio, names), _SAMPLED_PER_FOLDER)
    folders = [name for name, is_folder in listed if is_folder]
    for folder in folders[:: -(-len(folders) // _SAMPLED_FOLDERS) or 1]:
        paths = filter(_is_audio, _local_paths(root, folder))
        yield from itertools.islice(paths, _SAMPLED_PER_FOLDER)


def _local_paths(root: str, start: str = "") -> Iterator[str]:
    """Yields the paths below a folder of the root, relative to the root."""
    unreadable: list[OSError] = []
    top = os.path.join(root, start)
    for folder, folders, names in os.walk(top, onerror=unreadable.append):
        is_root = folder == top and not start
        if not is_root and find_writer({*folders, *names}):
            yield os.path.relpath(folder, root) + "/"
            folders.clear()
            continue
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                yield os.path.relpath(os.path.join(folder, name), root) + "/"
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), root)
    for error in unreadable:
        path = os.path.relpath(error.filename, root) + "/"
        # Nobody but the system may look into its `lost+found`.
        if not is_stray(path):
            yield path

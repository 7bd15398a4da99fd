"""Corpora, their candidates, and the interface of the modules that know a layout."""

import dataclasses
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from beam_jobs.audio.types import PYAV_SUFFIXES, SNDFILE_SUFFIXES
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage.files import exists, find_paths, is_remote, join
from schemas.errors import UserError

AUDIO_SUFFIXES = SNDFILE_SUFFIXES | PYAV_SUFFIXES

# The options that name corpora in which nobody speaks.
SOUNDS = ("noise", "rooms")


@dataclasses.dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus, as the command line names it.

    Attributes:
        name: the last part of its path, by which recipes refer to the corpus.
        root: the folder that its paths are relative to.
        pattern: the glob pattern of its files, relative to the root; empty for all files.
        layout: the name of a layout, or one of `SOUNDS`; empty to recognise the layout.
        speaker_regex: finds the speaker in a path, if there is a pattern.
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
    """

    path: str
    utterance: str
    speaker: str
    gender: str = ""
    split: str = ""
    start_s: float = 0.0
    stop_s: float | None = None
    origin: str = ""


Found = tuple[Corpus, Candidate | Rejected]
"""A corpus and one of its candidates, or something in it that can't be one."""


class Layout(Protocol):
    """A module that finds the utterances of corpora with one layout."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """The name of the layout for `--corpus_format`."""

    def recognises(self, corpus: Corpus, first_paths: Sequence[str]) -> bool:
        """Returns whether a corpus has this layout, judging by the first of its paths."""

    def candidates(self, corpus: Corpus) -> Iterator[Candidate | Rejected]:
        """Yields every utterance, and every file that does not fit the layout with the reason."""


def parse_corpora(
    arguments: Sequence[str], layout: str = "", speaker_regex: str = ""
) -> tuple[Corpus, ...]:
    """Makes corpora of the folders, manifests and glob patterns of a command line.

    Raises:
        UserError: a folder or manifest does not exist, two corpora have one name, or a pattern is
            without a way to find the speaker.
    """
    corpora = tuple(_parse_corpus(argument, layout, speaker_regex) for argument in arguments)
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
        return Corpus(name, root or ".", layout=layout, manifest=manifest)
    if re.search(r"[*?[]", argument) and not os.path.exists(argument):
        parts = argument.split("/")
        wild = next(index for index, part in enumerate(parts) if re.search(r"[*?[]", part))
        root, pattern = "/".join(parts[:wild]) or ".", "/".join(parts[wild:])
        if argument.startswith("/"):
            root = "/" + root.lstrip("/.")
        _check_speaker_regex(argument, speaker_regex)
    if not is_remote(root) and not os.path.isdir(root):
        raise UserError(f"--corpus={argument}: there is no folder or manifest {root}")
    return Corpus(folder_name(root), root, pattern, layout, speaker_regex)


def folder_name(root: str) -> str:
    """Returns the name of a corpus in a folder."""
    name = os.path.basename(root.rstrip("/") if is_remote(root) else os.path.abspath(root))
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
    a link or can't be read is yielded itself, ending in a slash, for the catalogue to reject.
    """
    if is_remote(corpus.root):
        paths = _remote_paths(corpus)
    elif corpus.pattern:
        paths = glob.iglob(corpus.pattern, root_dir=corpus.root, recursive=True)
    else:
        paths = _local_paths(corpus.root)
    for path in paths:
        if path.endswith("/") or os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES:
            yield path


def find_beside(corpus: Corpus, name: str) -> str | None:
    """Finds a file in the folder of a corpus, or in the one above if the corpus is a part of it."""
    for folder in (corpus.root, os.path.dirname(corpus.root.rstrip("/"))):
        path = join(folder, name)
        if exists(path):
            return path
    return None


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


def _local_paths(root: str) -> Iterator[str]:
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                yield os.path.relpath(os.path.join(folder, name), root) + "/"
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), root)
    for error in unreadable:
        yield os.path.relpath(error.filename, root) + "/"

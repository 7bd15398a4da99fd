"""What the layouts of corpora have in common."""

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

# Corpora in which nobody speaks; the options that name them.
SOUNDS = ("noise", "rooms")


@dataclasses.dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus, as the command line names it.

    Attributes:
        name: the last part of its path; recipes know the corpus by it.
        root: the folder that its paths are relative to.
        pattern: the glob pattern of its files, relative to the root; empty for all of them.
        layout: the name of a layout, or of `SOUNDS`; empty to recognise it.
        speaker_regex: finds the speaker in a path, where there is a pattern.
        manifest: the file in the root that lists the utterances, where `--corpus` names one.
    """

    name: str
    root: str
    pattern: str = ""
    layout: str = ""
    speaker_regex: str = ""
    manifest: str = ""

    @property
    def description(self) -> str:
        """What it is, without where it lies."""
        parts = (self.name, self.manifest, self.pattern, self.layout, self.speaker_regex)
        return " ".join(part for part in parts if part)


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """An utterance whose file nobody has looked into yet.

    Attributes:
        path: the file, relative to the corpus.
        utterance: the id, unique within the corpus.
        speaker: the speaker's id, unique within the corpus.
        gender: `f`, `m`, or empty where the corpus does not say.
        split: the corpus's own split, or empty.
        start_s: where in the file it begins, in seconds.
        stop_s: where it ends; None for the end of the file.
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
    """A module of this package."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """What `--corpus_format` calls it."""

    def recognises(self, corpus: Corpus, first_paths: Sequence[str]) -> bool:
        """Whether a corpus, of which some paths are given, looks like this layout's."""

    def candidates(self, corpus: Corpus) -> Iterator[Candidate | Rejected]:
        """Yields every utterance, and every file that can't be placed, with the reason."""


def parse_corpora(
    arguments: Sequence[str], layout: str = "", speaker_regex: str = ""
) -> tuple[Corpus, ...]:
    """Makes corpora of the folders, manifests and glob patterns of a command line.

    Raises:
        UserError: no such folder or manifest, two corpora of one name, or a pattern without a
            speaker.
    """
    corpora = tuple(_parse_corpus(argument, layout, speaker_regex) for argument in arguments)
    check_names(corpora)
    return corpora


def check_names(corpora: Iterable[Corpus]) -> None:
    """Sees that recipes can tell corpora apart.

    Raises:
        UserError: two of one name.
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
    """What a corpus in a folder is called."""
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

    What has no audio's suffix belongs to a corpus too (transcripts, a licence), and is passed over.
    A folder that is a link or can't be read is yielded itself, for the catalogue to reject.
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
    """The path of a file in the corpus's folder, or in the one above when the corpus is a part."""
    for folder in (corpus.root, os.path.dirname(corpus.root.rstrip("/"))):
        path = join(folder, name)
        if exists(path):
            return path
    return None


def parse_gender(text: str) -> str:
    """`f` or `m`, for whatever corpora call them; empty for everything else."""
    letter = text.strip().lower()[:1]
    return letter if letter in ("f", "m") else ""


def _remote_paths(corpus: Corpus) -> Iterator[str]:
    prefix = corpus.root.rstrip("/") + "/"
    for path in find_paths(corpus.root, corpus.pattern or "**"):
        # A name that ends in a slash stands for a folder in Cloud Storage's web page.
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

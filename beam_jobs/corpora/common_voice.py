"""Common Voice: `clips/*.mp3`, listed in `validated.tsv`, `train.tsv`, `dev.tsv` and `test.tsv`.

Source: https://github.com/common-voice/cv-dataset. What is not validated is left out. A folder has
one language, which releases since 2019 also have in a column.
"""

import os
import re
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import (
    AUDIO_SUFFIXES,
    Candidate,
    Corpus,
    folder_name,
    parse_gender,
)
from beam_jobs.corpora.manifest import BadLineError, read_candidates, read_lines, text_field
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "common_voice"
LICENSES = ("CC0-1.0",)

# The first three lists are parts of the last one.
_SPLITS = {"train": "train", "dev": "validation", "test": "test", "validated": ""}

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,8})?")


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns whether there are lists with `client_id` and `path`, or `--corpus` names one."""
    del sampled_paths
    return any({"client_id", "path"} <= set(_columns(path)) for path in _lists(corpus))


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance; its id is its file's name without the suffix."""
    seen: dict[str, str] = {}
    for path in _lists(corpus):
        name = path.rpartition("/")[2].removesuffix(".tsv")
        for candidate in read_candidates(
            path, _Parser(path, _SPLITS.get(name, ""), _language(corpus)), header_lines=1
        ):
            if isinstance(candidate, Rejected):
                yield candidate
                continue
            first = seen.setdefault(candidate.path, candidate.origin)
            if first == candidate.origin:
                yield candidate
            elif name != "validated" or first.startswith(f"{path}:"):
                yield Rejected(candidate.origin, f"{candidate.path} again: {first} has it too")


class _Parser:
    def __init__(self, path: str, split: str, language: str | None) -> None:
        self._columns = _columns(path)
        self._split = split
        self._language = language

    def __call__(self, line: str) -> Iterator[Candidate]:
        values = line.split("\t")
        if len(values) < len(self._columns):
            raise BadLineError(f"{len(values)} fields where {len(self._columns)} belong")
        fields = dict(zip(self._columns, values, strict=False))
        clip = text_field(fields, "path")
        # The first releases leave the suffix out.
        if os.path.splitext(clip)[1].lower() not in AUDIO_SUFFIXES:
            clip += ".mp3"
        yield Candidate(
            path=f"clips/{clip}",
            utterance=clip.rpartition(".")[0],
            speaker=text_field(fields, "client_id"),
            gender=parse_gender(fields.get("gender", "")),
            split=self._split,
            text=fields.get("sentence"),
            language=fields.get("locale") or self._language,
        )


def _lists(corpus: Corpus) -> list[str]:
    names = [corpus.manifest] if corpus.manifest else [f"{name}.tsv" for name in _SPLITS]
    paths = [] if corpus.pattern else [files.join(corpus.root, name) for name in names]
    return [path for path in paths if path.endswith(".tsv") and files.exists(path)]


def _language(corpus: Corpus) -> str | None:
    folder = folder_name(corpus.root)
    return folder if _LANGUAGE.fullmatch(folder) else None


def _columns(path: str) -> list[str]:
    return [name.strip() for name in next(read_lines(path), "").split("\t")]

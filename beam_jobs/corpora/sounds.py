"""Folders of audio in which nobody speaks: noise, or the responses of rooms."""

import os
from collections.abc import Iterator

from beam_jobs.corpora.layout import (
    Candidate,
    Corpus,
    absolute_root,
    audio_paths,
    folder_name,
)
from beam_jobs.storage import files
from schemas.errors import UserError


def parse_sounds(option: str, folder: str) -> Corpus:
    """Makes a corpus of a folder that an option of the command line names.

    Args:
        option: one of `SOUNDS`.
        folder: its value.

    Raises:
        UserError: there is no such folder.
        PermissionError: it can't be looked into.
    """
    if not files.is_remote(folder):
        if not os.path.isdir(folder):
            raise UserError(f"--{option}={folder}: there is no folder {folder}")
        os.scandir(folder).close()
    return Corpus(folder_name(folder), absolute_root(folder), layout=option)


def candidates(corpus: Corpus) -> Iterator[Candidate]:
    """Yields every file."""
    for path in audio_paths(corpus):
        yield sound_candidate(corpus, path)


def sound_candidate(corpus: Corpus, path: str) -> Candidate:
    """Returns the candidate for a file, with an id that no utterance of another corpus has."""
    return Candidate(path, f"{corpus.name}/{path}", speaker=corpus.layout)

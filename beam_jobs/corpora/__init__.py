"""Where the utterances of a corpus are: one small module for each layout that corpora have."""

import itertools
from collections.abc import Iterator

from beam_jobs.corpora import (
    common_voice,
    kaldi,
    lhotse,
    librispeech,
    nemo,
    pattern,
    sounds,
    speaker_folders,
    vctk,
)
from beam_jobs.corpora.layout import SOUNDS, Candidate, Corpus, Found, Layout, audio_paths
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.errors import UserError

# In the order of trying: the last one takes whatever is in folders.
LAYOUTS: tuple[Layout, ...] = (
    pattern,
    nemo,
    lhotse,
    kaldi,
    common_voice,
    librispeech,
    vctk,
    speaker_folders,
)


def find_utterances(corpus: Corpus) -> Iterator[Found]:
    """Yields each candidate of a corpus beside the corpus, and what is rejected likewise."""
    for candidate in find_candidates(corpus):
        yield corpus, candidate


def find_candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance of a corpus, by the layout that the corpus names or looks like.

    Where nobody speaks, every file is one.

    What the layout can't place is yielded with the reason.

    Raises:
        UserError: there is no such layout.
    """
    if corpus.layout in SOUNDS:
        return sounds.candidates(corpus)
    return choose_layout(corpus).candidates(corpus)


def choose_layout(corpus: Corpus) -> Layout:
    """The layout that a corpus names or looks like.

    Raises:
        UserError: there is no layout of that name, or none for such a manifest.
    """
    names = ", ".join(layout.NAME for layout in LAYOUTS)
    if corpus.layout:
        for layout in LAYOUTS:
            if corpus.layout == layout.NAME:
                return layout
        raise UserError(f"--corpus_format={corpus.layout}: there is {names}")
    first_paths = [] if corpus.manifest else list(itertools.islice(audio_paths(corpus), 20))
    for layout in LAYOUTS:
        if layout.recognises(corpus, first_paths):
            return layout
    raise UserError(
        f"--corpus={files.join(corpus.root, corpus.manifest)}: not a manifest that is known:"
        f" --corpus_format says what it is, of {names}"
    )

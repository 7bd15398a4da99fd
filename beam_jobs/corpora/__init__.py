"""Finds the utterances of corpora: one small module for each layout, and the catalogue."""

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
from beam_jobs.corpora.layout import SOUNDS, Candidate, Corpus, Found, Layout, sample_paths
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.errors import UserError

# In the order in which they are tried: the last one takes anything in folders.
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
    """Yields each candidate of a corpus, or its rejection, together with the corpus."""
    for candidate in find_candidates(corpus):
        yield corpus, candidate


def find_candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance of a corpus, by the layout that the corpus names or looks like.

    A file that does not fit the layout is yielded with the reason. In a corpus of noise or of room
    responses, every file is a candidate.

    Raises:
        UserError: there is no such layout.
    """
    if corpus.layout in SOUNDS:
        return sounds.candidates(corpus)
    return choose_layout(corpus).candidates(corpus)


def choose_layout(corpus: Corpus) -> Layout:
    """Returns the layout that a corpus names or looks like.

    Raises:
        UserError: there is no layout of that name or none that has such a manifest, or the corpus
            is of no layout that is known and its folders don't look like those of speakers.
    """
    names = ", ".join(layout.NAME for layout in LAYOUTS)
    if corpus.layout:
        for layout in LAYOUTS:
            if corpus.layout == layout.NAME:
                _check_named(corpus)
                return layout
        raise UserError(f"--corpus_format={corpus.layout}: there is {names}")
    sampled_paths = [] if corpus.manifest else sample_paths(corpus)
    for layout in LAYOUTS:
        if layout.recognises(corpus, sampled_paths):
            if layout is speaker_folders:
                speaker_folders.check_guess(corpus, sampled_paths)
            return layout
    raise UserError(
        f"--corpus={files.join(corpus.root, corpus.manifest)}: not a manifest that is known:"
        f" --corpus_format says what it is, of {names}"
    )


def known_licenses(layout_name: str) -> tuple[str, ...]:
    """Returns the licences of the corpora of a layout; none if they or the layout are unknown."""
    return next((layout.LICENSES for layout in LAYOUTS if layout_name == layout.NAME), ())


def _check_named(corpus: Corpus) -> None:
    """Checks that the layout that the user names can have what the user names as a corpus.

    Raises:
        UserError: it needs a manifest, or has none.
    """
    named = files.join(corpus.root, corpus.manifest) if corpus.manifest else corpus.root
    if corpus.layout in (nemo.NAME, lhotse.NAME) and not corpus.manifest:
        raise UserError(f"--corpus={named}: {corpus.layout} takes a manifest, and this is none")
    if corpus.layout in (pattern.NAME, speaker_folders.NAME) and corpus.manifest:
        raise UserError(f"--corpus={named}: {corpus.layout} takes a folder, and this is a file")

"""Where the utterances of a corpus are: one small module for each layout that corpora have."""

import itertools
from collections.abc import Iterator

from beam_jobs.corpora import librispeech, pattern, speaker_folders
from beam_jobs.corpora.layout import Candidate, Corpus, Layout, audio_paths
from beam_jobs.rejected import Rejected

# In the order of trying: the last one takes whatever is in folders.
LAYOUTS: tuple[Layout, ...] = (pattern, librispeech, speaker_folders)


def find_candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance of a corpus, by the layout that the corpus names or looks like.

    What the layout can't place is yielded with the reason.

    Raises:
        ValueError: there is no layout of that name.
    """
    return choose_layout(corpus).candidates(corpus)


def choose_layout(corpus: Corpus) -> Layout:
    """The layout that a corpus names or looks like.

    Raises:
        ValueError: there is no layout of that name.
    """
    if corpus.layout:
        for layout in LAYOUTS:
            if corpus.layout == layout.NAME:
                return layout
        names = ", ".join(layout.NAME for layout in LAYOUTS)
        raise ValueError(f"--corpus_format={corpus.layout}: there is {names}")
    first_paths = list(itertools.islice(audio_paths(corpus), 20))
    return next(layout for layout in LAYOUTS if layout.recognises(corpus, first_paths))

"""Whom the catalogue has of each corpus, so that a layout that was guessed wrong shows."""

import dataclasses
from collections.abc import Sequence

from beam_jobs.corpora import choose_layout
from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.corpora.layout import SOUNDS, Corpus

_NUM_NAMED = 3


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusSummary:
    """What a corpus turned out to be.

    Attributes:
        corpus: its name.
        layout: the name of the layout that it was read as.
        num_speakers: who have utterances that can be used.
        speakers: the first of them by name, in the corpus's own words.
    """

    corpus: str
    layout: str
    num_speakers: int
    speakers: tuple[str, ...]

    def __str__(self) -> str:
        """Returns a line for the screen: the name, the layout, and the number of speakers."""
        names = ", ".join(self.speakers) + (", ..." if self.num_speakers > _NUM_NAMED else "")
        speakers = "speaker" if self.num_speakers == 1 else "speakers"
        named = f" ({names})" if names else ""
        return f"{self.corpus}: {self.layout}, {self.num_speakers:,} {speakers}{named}"


def summarise_corpora(catalogue: Catalogue, corpora: Sequence[Corpus]) -> tuple[CorpusSummary, ...]:
    """Summarises each corpus of speech.

    Args:
        catalogue: of the corpora.
        corpora: any, of which those of noise and rooms are left out.
    """
    return tuple(_summarise(catalogue, corpus) for corpus in corpora if corpus.layout not in SOUNDS)


def _summarise(catalogue: Catalogue, corpus: Corpus) -> CorpusSummary:
    speakers = catalogue.speakers_of(corpus.name)
    # The ids of several corpora begin with the name of the corpus.
    named = (name.removeprefix(f"{corpus.name}/") for name in speakers[:_NUM_NAMED])
    return CorpusSummary(corpus.name, choose_layout(corpus).NAME, len(speakers), tuple(named))

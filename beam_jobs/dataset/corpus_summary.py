"""Saying what was found in the corpora: their layouts, and their speakers."""

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.corpora.layout import SOUNDS
from beam_jobs.dataset.spec import DatasetSpec
from schemas.quality import CorpusSpeakers

# Enough to see whether they are speakers at all.
_NUM_NAMED = 3


def summarise_corpora(spec: DatasetSpec, catalogue: Catalogue) -> tuple[CorpusSpeakers, ...]:
    """Summarises the speakers that a catalogue has of each corpus of speech."""
    summaries = []
    for corpus in spec.corpora:
        if corpus.layout in SOUNDS:
            continue
        names = catalogue.speakers_of(corpus.name)
        summaries.append(
            CorpusSpeakers(
                corpus=corpus.name,
                layout=spec.layout_names.get(corpus.name, ""),
                num_speakers=len(names),
                speakers=tuple(names[:_NUM_NAMED]),
            )
        )
    return tuple(summaries)


def describe_corpora(spec: DatasetSpec, catalogue: Catalogue) -> list[str]:
    """Returns a line for each corpus of speech."""
    lines = []
    for one in summarise_corpora(spec, catalogue):
        layout = f"layout {one.layout}, " if one.layout else ""
        speakers = f"{one.num_speakers:,} speaker{'' if one.num_speakers == 1 else 's'}"
        such_as = f", such as {', '.join(one.speakers)}" if one.speakers else ""
        lines.append(f"{one.corpus}: {layout}{speakers}{such_as}")
    return lines

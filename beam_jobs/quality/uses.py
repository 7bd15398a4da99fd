"""Counts of how often the utterances and the speakers of a catalogue are used."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.corpora.catalogue import Catalogue
from schemas.quality import Uses

UseCounts = Mapping[str, npt.NDArray[np.int64]]
"""Counts by split, int64 [utterances] or [speakers]; zeros at the end may be left out.

Of a catalogue of millions of utterances an array is small, and a dictionary would not be."""


def count_uses(entries: Mapping[str, Sequence[int]]) -> UseCounts:
    """Counts the uses of each entry of the catalogue, from the entries used in each split."""
    return {split: np.bincount(of_split) for split, of_split in entries.items()}


def count_uses_in_shard(uses: UseCounts) -> UseCounts:
    """Counts how many utterances a shard uses how often.

    Args:
        uses: in the shard.

    Returns:
        By split, the number of utterances by the number of their uses.
    """
    return {split: np.bincount(of_split[of_split > 0]) for split, of_split in uses.items()}


def add_uses(several: Iterable[UseCounts]) -> UseCounts:
    """Adds up counts of the same things."""
    totals: dict[str, npt.NDArray[np.int64]] = {}
    for counts in several:
        for split, of_split in counts.items():
            before = totals.get(split, np.zeros(0, np.int64))
            total = np.zeros(max(len(before), len(of_split)), np.int64)
            total[: len(before)] += before
            total[: len(of_split)] += of_split
            totals[split] = total
    return totals


def count_speaker_uses(uses: UseCounts, catalogue: Catalogue) -> UseCounts:
    """Counts the uses of each speaker, from those of each entry of the catalogue."""
    num_speakers = len(catalogue.speaker_names)
    return {
        split: np.bincount(
            catalogue.speakers[: len(of_split)], weights=of_split, minlength=num_speakers
        ).astype(np.int64)
        for split, of_split in uses.items()
    }


def count_in_two_splits(uses: UseCounts) -> int:
    """Counts what is used in more than one split."""
    length = max(map(len, uses.values()))
    used = [np.pad(of_split > 0, (0, length - len(of_split))) for of_split in uses.values()]
    return int((np.sum(used, axis=0) > 1).sum())


def summarise_uses(of_split: npt.NDArray[np.int64]) -> Uses:
    """Summarises how evenly the things that are used at all are used."""
    return summarise_counts(np.bincount(of_split[of_split > 0]))


def summarise_counts(counts: npt.NDArray[np.int64]) -> Uses:
    """Summarises how many things are used how often, from their numbers by the number of uses."""
    numbers = np.flatnonzero(counts).tolist()
    return Uses(
        min=min(numbers, default=0),
        max=max(numbers, default=0),
        histogram={uses: int(counts[uses]) for uses in numbers},
    )

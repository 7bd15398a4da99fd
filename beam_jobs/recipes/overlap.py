"""Sparse mixtures: sources that overlap for a given share of the mixture.

The share is the time in which two or more speak over the time in which anyone does, as the
statistics of SparseLibriMix count it (Cosentino et al., 2020, and the metadata/ of
https://github.com/popcornell/SparseLibriMix). There each source overlaps the one before it for a
fixed part of that one's length, so that mixtures have some share near the one that is asked for;
here that part is what is solved for.
"""

import itertools
from collections.abc import Sequence

from schemas.recipe import overlap_ratio

# Halvings of the part: finer than a sample of a mixture of hours.
_NUM_HALVINGS = 40


def overlap_offsets(lengths: Sequence[int], ratio: float) -> list[int]:
    """Finds where sources start that overlap for a share of the mixture.

    Each source overlaps the one before it, for the same part of the shorter one of the two. Where
    even whole overlaps come to less than is asked for, they are whole.

    Args:
        lengths: of the sources, in samples, in the order in which they start.
        ratio: from 0 to 1.

    Returns:
        The first sample of each source, ascending from 0.
    """
    shorter = [min(pair) for pair in itertools.pairwise(lengths)]
    # Overlap and mixture together are as long as all sources, where never three speak at once.
    overlap = sum(lengths) * ratio / (1 + ratio)
    low = min(overlap / sum(shorter), 1.0) if shorter else 1.0
    offsets = _chain(lengths, shorter, low)
    if len(lengths) < 3 or _most_at_once(offsets, lengths) < 3:
        return offsets
    high = 1.0
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        offsets = _chain(lengths, shorter, middle)
        if overlap_ratio(_intervals(offsets, lengths)) < ratio:
            low = middle
        else:
            high = middle
    return _chain(lengths, shorter, high)


def _chain(lengths: Sequence[int], shorter: Sequence[int], part: float) -> list[int]:
    offsets = [0]
    for length, overlap in zip(lengths, shorter, strict=False):
        offsets.append(offsets[-1] + length - round(part * overlap))
    return offsets


def _intervals(starts: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    return [(start, start + length) for start, length in zip(starts, lengths, strict=True)]


def _most_at_once(starts: Sequence[int], lengths: Sequence[int]) -> int:
    # A source that ends where another one starts is not active with it: -1 sorts before 1.
    changes = sorted(
        change for start, stop in _intervals(starts, lengths) for change in ((start, 1), (stop, -1))
    )
    return max(itertools.accumulate(change for _, change in changes))

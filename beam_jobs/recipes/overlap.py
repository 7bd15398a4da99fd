"""Sparse mixtures: sources that overlap for a given share of the mixture.

The share is the time in which two or more speak over the time in which anyone does, as the
statistics of SparseLibriMix count it (Cosentino et al., 2020, and the metadata/ of
https://github.com/popcornell/SparseLibriMix). In SparseLibriMix each source overlaps the one before
it for a fixed part of that one's length, which makes the share of a mixture nearly the one that is
asked for. Here the part is computed from the share.
"""

import itertools
from collections.abc import Sequence

from schemas.recipe import overlap_ratio

# This many halvings find the part to less than a sample, even in a mixture of hours.
_NUM_HALVINGS = 40


def overlap_offsets(lengths: Sequence[int], ratio: float) -> list[int]:
    """Finds offsets of sources that make them overlap for a share of the mixture.

    Each source overlaps the one before it for the same part of the shorter one of the two. If the
    share is more than can be had, each overlaps the one before it for all of that length.

    Args:
        lengths: of the sources, in samples, in the order in which they start.
        ratio: the share, from 0 to 1.

    Returns:
        The first sample of each source, ascending from 0.
    """
    shorter = [min(pair) for pair in itertools.pairwise(lengths)]
    # As long as no three speak at once, overlap and mixture add up to the lengths of all sources.
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

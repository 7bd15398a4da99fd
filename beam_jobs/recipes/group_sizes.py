"""How many utterances meet in each of the groups that follow each other."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int32]


class GroupSizes:
    """The sizes of an endless sequence of groups: those of a block, again and again.

    A block is a few groups that have each size as often as it is asked for. So every stretch of the
    sequence has the shares that are asked for, and the number of a group is enough to know its
    size. Where all groups have one size, a block is a group.

    Attributes:
        in_block: the size of each group of a block.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        """Takes the sizes, each as often as its share of the groups asks for."""
        counts = Counter(sizes)
        # Groups of one size are as far from each other as they can be.
        places = sorted(
            ((number + 0.5) / count, size)
            for size, count in counts.items()
            for number in range(count)
        )
        self.in_block = tuple(size for _, size in places)

    @property
    def largest(self) -> int:
        """The size of the largest groups."""
        return max(self.in_block)

    @property
    def mean(self) -> float:
        """The mean size of the groups."""
        return self.block_size / self.groups_per_block

    @property
    def block_size(self) -> int:
        """The number of utterances in a block."""
        return sum(self.in_block)

    @property
    def groups_per_block(self) -> int:
        """The number of groups in a block."""
        return len(self.in_block)

    def num_utterances(self, num_groups: int) -> int:
        """Returns the number of utterances in the first groups of the sequence."""
        num_blocks, num_over = divmod(num_groups, self.groups_per_block)
        return num_blocks * self.block_size + int(self._bounds[num_over])

    def num_groups(self, num_utterances: int) -> int:
        """Returns the number of groups that the first utterances fill, without one left open."""
        num_blocks, num_over = divmod(num_utterances, self.block_size)
        filled = int(np.searchsorted(self._bounds, num_over, side="right")) - 1
        return num_blocks * self.groups_per_block + filled

    def bounds(self, num_blocks: int) -> npt.NDArray[np.int64]:
        """Returns where each group of the first blocks begins, and where the last one ends."""
        blocks = np.arange(num_blocks)[:, np.newaxis] * self.block_size
        return np.append((blocks + self._bounds[:-1]).ravel(), num_blocks * self.block_size)

    def columns(self) -> dict[int, npt.NDArray[np.int64]]:
        """Returns the places of the groups of each size in a block, int64 [groups, size]."""
        return {
            size: np.array(
                [
                    np.arange(start, start + size)
                    for start, own in zip(self._bounds, self.in_block, strict=False)
                    if own == size
                ]
            )
            for size in sorted(set(self.in_block))
        }

    def cut(self, block: Indices) -> Iterator[Indices]:
        """Yields the groups of a block, each int32 [size]."""
        for start, stop in itertools.pairwise(self._bounds.tolist()):
            yield block[start:stop]

    @functools.cached_property
    def _bounds(self) -> npt.NDArray[np.int64]:
        return np.array([0, *itertools.accumulate(self.in_block)])

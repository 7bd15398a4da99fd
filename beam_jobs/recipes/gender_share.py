"""Assigns the places in groups of speakers to women and men.

A given share of the groups is of one gender, and the others have both.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True)
class GenderShare:
    """The share of groups of one gender that is asked for, of those of two or more.

    Attributes:
        women: bool [utterances], true if the speaker is a woman; all others are men.
        same: the share of the groups that are of one gender, 0 to 1.
    """

    women: Flags
    same: float

    def kinds(self, group_size: int) -> list[float]:
        """Returns the share of the groups with each number of women, about."""
        if group_size == 1:
            # Whoever is alone is of one gender, whatever share is asked for of the others.
            return [0.5, 0.5]
        mixed = [(1 - self.same) / (group_size - 1)] * (group_size - 1)
        return [self.same / 2, *mixed, self.same / 2]


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The places of the groups of one size that are in a round as a whole.

    Attributes:
        in_round: int64 [groups, size], the places of each group among those of the round.
        first_group: the number of the first of these groups, in the sequence of all of this size.
    """

    in_round: npt.NDArray[np.int64]
    first_group: int


def share_places(
    places: Sequence[Places],
    women: Flags,
    same: float,
    num_speakers: tuple[int, int],
    generator: np.random.Generator,
) -> Flags | None:
    """Decides which places of a round are for women.

    If the women and men of the round can't make up the share that is asked for, the share is the
    nearest one that they can.

    Args:
        places: of the groups of each size, the largest first. All other places are of groups that
            reach into other rounds, or of one utterance.
        women: bool [places], true for each woman's utterance in the round.
        same: the share of the groups of each size that are of one gender.
        num_speakers: the numbers of different women and men in the round.
        generator: of random numbers.

    Returns:
        bool [places], true for a woman's; None if there are no groups, or no division of the round
        is possible.
    """
    if not places:
        return None
    for_women = np.zeros(len(women), bool)
    is_left = np.ones(len(women), bool)
    num_women = int(women.sum())
    for one in places:
        num_groups, size = one.in_round.shape
        numbers = np.arange(one.first_group, one.first_group + num_groups + 1)
        is_same = np.diff(np.floor(numbers * same + 1e-9)) > 0
        division = _divide(
            size,
            num_groups,
            # To the groups of one size, those of smaller ones are places like any others.
            int(is_left.sum()) - one.in_round.size,
            num_women,
            int(is_same.sum()),
            (num_speakers[0] >= size, num_speakers[1] >= size),
            generator,
        )
        if division is None:
            return None
        num_same, num_of_women, women_in_mixed = division
        if num_same != is_same.sum():
            is_same = _spread(num_same, num_groups) > 0
        in_group = np.empty(num_groups, np.int64)
        in_group[is_same] = size * generator.permutation(_spread(num_of_women, num_same))
        in_group[~is_same] = generator.permutation(_spread(women_in_mixed, num_groups - num_same))
        for_women[one.in_round] = generator.permuted(
            np.arange(size) < in_group[:, np.newaxis], axis=1
        )
        is_left[one.in_round] = False
        num_women -= int(in_group.sum())
    for_women[is_left] = generator.permutation(np.arange(is_left.sum()) < num_women)
    return for_women


def _spread(total: int, count: int) -> npt.NDArray[np.int64]:
    """Divides a total into a number of parts that differ by one at most, int64 [count]."""
    return np.diff(np.arange(count + 1) * total // max(count, 1))


def _divide(
    size: int,
    num_groups: int,
    num_outside: int,
    num_women: int,
    num_same: int,
    alone: tuple[bool, bool],
    generator: np.random.Generator,
) -> tuple[int, int, int] | None:
    """Divides women among groups of one size and places outside of them.

    Returns:
        The number of groups of one gender, as near to `num_same` as is possible; the number of
        these that are of women; and the number of women in all other groups together. None if
        there is no solution.
    """
    num_people = size * num_groups + num_outside
    # Chance decides between two numbers that are equally near.
    near = np.argsort(np.abs(np.arange(num_groups + 1) - num_same + generator.uniform(-0.1, 0.1)))
    for same in near.tolist():
        mixed = num_groups - same
        # Each mixed group has at least one woman and one man.
        low = max(-((num_outside + (size - 1) * mixed - num_women) // size), 0)
        high = min((num_women - mixed) // size, same)
        low = low if alone[1] else max(low, same)
        high = high if alone[0] else min(high, 0)
        if low <= high:
            of_women = min(max(round(same * num_women / num_people), low), high)
            left = num_women - size * of_women
            wanted = round(left * size * mixed / max(size * mixed + num_outside, 1))
            least, most = max(mixed, left - num_outside), min((size - 1) * mixed, left)
            return same, of_women, min(max(wanted, least), most)
    return None

"""Assigns the places in groups of speakers to women and men.

A given share of the groups is of one gender, and the others have both.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True)
class GenderShare:
    """The share of groups of one gender that is asked for.

    Attributes:
        women: bool [utterances], true if the speaker is a woman; all others are men.
        same: the share of the groups that are of one gender, 0 to 1.
    """

    women: Flags
    same: float

    def kinds(self, group_size: int) -> list[float]:
        """Returns the share of the groups with each number of women, about."""
        mixed = [(1 - self.same) / (group_size - 1)] * (group_size - 1)
        return [self.same / 2, *mixed, self.same / 2]


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The places in one round; some at both ends belong to groups that reach into other rounds.

    Attributes:
        group_size: the number of places in a group.
        num_groups: the number of groups that are in the round with all their places.
        head: the number of places before these groups.
        tail: the number of places after them.
        first_group: the number of the first of these groups, in the sequence of all groups.
    """

    group_size: int
    num_groups: int
    head: int
    tail: int
    first_group: int


def share_places(
    places: Places,
    num_women: int,
    same: float,
    alone: tuple[bool, bool],
    generator: np.random.Generator,
) -> Flags | None:
    """Decides which places of a round are for women.

    If the women and men of the round can't make up the share that is asked for, the share is the
    nearest one that they can.

    Args:
        places: of the round.
        num_women: in the round; all others are men.
        same: the share of the groups that are of one gender.
        alone: whether there are enough women, and enough men, for a group of their own.
        generator: of random numbers.

    Returns:
        bool [places], true for a woman's; None if no group is in the round as a whole, or no
        division of it is possible.
    """
    size, num_groups = places.group_size, places.num_groups
    if not num_groups:
        return None
    numbers = np.arange(places.first_group, places.first_group + num_groups + 1)
    is_same = np.diff(np.floor(numbers * same + 1e-9)) > 0
    division = _divide(places, num_women, int(is_same.sum()), alone, generator)
    if division is None:
        return None
    num_same, num_of_women, women_in_mixed = division
    if num_same != is_same.sum():
        is_same = _spread(num_same, num_groups) > 0
    women = np.empty(num_groups, np.int64)
    women[is_same] = size * generator.permutation(_spread(num_of_women, num_same))
    women[~is_same] = generator.permutation(_spread(women_in_mixed, num_groups - num_same))
    in_groups = generator.permuted(np.arange(size) < women[:, np.newaxis], axis=1)
    num_outside = places.head + places.tail
    outside = generator.permutation(np.arange(num_outside) < num_women - women.sum())
    places_of_women: Flags = np.concatenate(
        [outside[: places.head], in_groups.ravel(), outside[places.head :]]
    )
    return places_of_women


def _spread(total: int, count: int) -> npt.NDArray[np.int64]:
    """Divides a total into a number of parts that differ by one at most, int64 [count]."""
    return np.diff(np.arange(count + 1) * total // max(count, 1))


def _divide(
    places: Places,
    num_women: int,
    num_same: int,
    alone: tuple[bool, bool],
    generator: np.random.Generator,
) -> tuple[int, int, int] | None:
    """Divides the women of a round among its groups.

    Returns:
        The number of groups of one gender, as near to `num_same` as is possible; the number of
        these that are of women; and the number of women in all other groups together. None if
        there is no solution.
    """
    size, num_groups = places.group_size, places.num_groups
    num_outside = places.head + places.tail
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

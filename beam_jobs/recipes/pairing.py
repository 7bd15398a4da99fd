"""Chooses the utterances that meet in each mixture.

A round uses every utterance of a split once, and rounds follow one another until there are enough
mixtures. So every utterance is used equally often, give or take one. The number of a mixture is
enough to find its utterances, without the mixtures before it: any shard can be planned alone, and a
plan of millions of mixtures is never in memory.

Groups of several sizes come in blocks, as `GroupSizes` has them.

A round is made of buckets, each small enough for its groups to be found in milliseconds.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.recipes.gender_share import Flags, GenderShare, Places, share_places
from beam_jobs.recipes.group_sizes import GroupSizes, Indices
from beam_jobs.recipes.random_numbers import keyed_generator

# A bucket has this many utterances, or a few less: as many as make whole blocks, so that only
# groups of the last bucket reach into the next round.
BUCKET_SIZE = 15_360

# Random probes soon find a partner, unless one speaker has most of the utterances.
_NUM_PROBES = 30

# If this many attempts to separate speakers within their gender fail, one gender has too few
# speakers, and swaps between genders are allowed.
_NUM_GENDER_ATTEMPTS = 4

# Blocks of many groups take many rounds at once. To begin anew because of one of them would hardly
# ever end, so a use that has nowhere to go goes anywhere, and this many passes mend what follows.
_NUM_PASSES = 100


@dataclasses.dataclass(frozen=True, slots=True)
class _Bucket:
    """Utterances that meet each other and no others.

    Attributes:
        number: of the bucket in its split.
        members: int32 [utterances], indices into the split's utterances.
        speakers: int32 [utterances], the speaker of each.
        uses_per_round: the number of utterances that a round uses: all of them, unless one speaker
            has too many for each to meet another speaker.
    """

    number: int
    members: Indices
    speakers: Indices
    uses_per_round: int

    def blocks_before(self, round_number: int, block_size: int) -> int:
        """Returns the number of blocks that begin before a round does."""
        return -(-round_number * self.uses_per_round // block_size)


class _Groups:
    """Uses of utterances that are divided into groups.

    Attributes:
        speakers: int32 [uses], the speaker of each.
        bounds: int64 [groups + 1], where each group begins, and the end.
        numbers: int64 [uses], the group of each.
    """

    def __init__(self, speakers: Indices, bounds: npt.NDArray[np.int64]) -> None:
        self.speakers = speakers
        self.bounds = bounds
        self.numbers = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))

    def of(self, group: int) -> Indices:
        """Returns the speakers of a group."""
        return self.speakers[self.bounds[group] : self.bounds[group + 1]]

    def with_repeated_speakers(self) -> npt.NDArray[np.int64]:
        """Returns the groups that have a speaker twice."""
        num_speakers = int(self.speakers.max()) + 1
        ordered = np.sort(self.numbers * num_speakers + self.speakers)
        repeated: npt.NDArray[np.int64] = np.unique(
            ordered[1:][ordered[1:] == ordered[:-1]] // num_speakers
        )
        return repeated


class Pairing:
    """An endless sequence of groups of utterances, without two of one speaker in any group."""

    def __init__(
        self,
        speakers: Indices,
        *,
        sizes: GroupSizes,
        key: Sequence[object],
        genders: GenderShare | None = None,
    ) -> None:
        """Divides the utterances into buckets.

        Args:
            speakers: int32 [utterances], the speaker of each utterance.
            sizes: of the groups.
            key: of the random numbers; another key gives another sequence.
            genders: the share of groups of one gender; None to ignore genders.

        Raises:
            ValueError: there are fewer speakers than a group needs.
        """
        self._sizes = sizes
        self._genders = genders
        self._key = tuple(key)
        order = _spread(speakers, keyed_generator(*key, "spread"))
        bucket_size = max(BUCKET_SIZE // sizes.block_size, 1) * sizes.block_size
        num_buckets = max(1, len(speakers) // bucket_size)
        bounds = [number * bucket_size for number in range(num_buckets)] + [len(speakers)]
        parts = [order[start:stop] for start, stop in itertools.pairwise(bounds)]
        # Where a few speakers have nearly all utterances, a part may have too few of them.
        if any(len(np.unique(speakers[part])) < sizes.largest for part in parts):
            parts = [order]
        self._buckets = []
        for number, members in enumerate(parts):
            uses = uses_per_round(speakers[members], sizes.largest)
            self._buckets.append(_Bucket(number, members, speakers[members], uses))
        self._cycle = functools.lru_cache(maxsize=4)(self._make_cycle)

    @property
    def blocks_per_round(self) -> int:
        """The number of whole blocks in one round."""
        return sum(bucket.uses_per_round for bucket in self._buckets) // self._sizes.block_size

    def groups(self, start: int, stop: int) -> Iterator[Indices]:
        """Yields the groups from number `start` to `stop`, each int32 [size], indices."""
        in_block = self._sizes.groups_per_block
        first = start // in_block
        blocks = self.blocks(first, -(-stop // in_block))
        groups = itertools.chain.from_iterable(map(self._sizes.cut, blocks))
        return itertools.islice(groups, start - first * in_block, stop - first * in_block)

    def blocks(self, start: int, stop: int) -> Iterator[Indices]:
        """Yields the blocks from number `start` to `stop`, each int32 [block_size], indices."""
        block_size = self._sizes.block_size
        round_number = start // max(self.blocks_per_round, 1)
        while self._blocks_before(round_number) > start:
            round_number -= 1
        position = self._blocks_before(round_number)
        while position < stop:
            for bucket in self._buckets:
                first = bucket.blocks_before(round_number, block_size)
                count = bucket.blocks_before(round_number + 1, block_size) - first
                low, high = max(start - position, 0), min(stop - position, count)
                if low < high:
                    cycle_number, number = divmod(round_number, block_size)
                    skipped = bucket.blocks_before(number, block_size)
                    cycle = self._cycle(bucket.number, cycle_number)
                    yield from bucket.members[cycle[skipped + low : skipped + high]]
                position += count
            round_number += 1

    def _blocks_before(self, round_number: int) -> int:
        block_size = self._sizes.block_size
        return sum(bucket.blocks_before(round_number, block_size) for bucket in self._buckets)

    def _make_cycle(self, bucket_number: int, cycle_number: int) -> Indices:
        """Returns the blocks of `block_size` rounds of a bucket, after which no group is open."""
        bucket, block_size = self._buckets[bucket_number], self._sizes.block_size
        # As many blocks as a round has uses.
        bounds = self._sizes.bounds(bucket.uses_per_round)
        attempt = 0
        while True:
            generator = keyed_generator(*self._key, bucket_number, cycle_number, attempt)
            rounds = [
                self._round(bucket, block_size * cycle_number + number, generator)
                for number in range(block_size)
            ]
            women = None
            if genders := self._genders:
                rounds = self._seat_genders(
                    genders, bucket, bounds, cycle_number, rounds, generator
                )
                if attempt < _NUM_GENDER_ATTEMPTS:
                    women = genders.women[bucket.members[np.concatenate(rounds)]]
            uses = np.concatenate(rounds)
            groups = _Groups(bucket.speakers[uses], bounds)
            num_passes = _NUM_PASSES if self._sizes.groups_per_block > 1 else 1
            if _part_speakers(uses, groups, bucket.uses_per_round, num_passes, generator, women):
                return uses.reshape(-1, block_size)
            attempt += 1

    def _seat_genders(
        self,
        genders: GenderShare,
        bucket: _Bucket,
        bounds: npt.NDArray[np.int64],
        cycle_number: int,
        rounds: Sequence[Indices],
        generator: np.random.Generator,
    ) -> list[Indices]:
        """Orders the utterances of each round of a cycle so that genders meet as asked."""
        seated = []
        for number, uses in enumerate(rounds):
            women = genders.women[bucket.members[uses]]
            speakers = bucket.speakers[uses]
            num_women, num_men = (
                len(np.unique(speakers[of_gender])) for of_gender in (women, ~women)
            )
            for_women = share_places(
                self._places(bounds, cycle_number, number, len(uses)),
                women,
                genders.same,
                (num_women, num_men),
                generator,
            )
            if for_women is None:
                seated.append(uses)
                continue
            seated.append(np.empty_like(uses))
            seated[-1][for_women], seated[-1][~for_women] = uses[women], uses[~women]
        return seated

    def _places(
        self, bounds: npt.NDArray[np.int64], cycle_number: int, number: int, round_size: int
    ) -> list[Places]:
        """Returns the places of the groups that are in a round as a whole, the largest first."""
        start = number * round_size
        first = int(np.searchsorted(bounds, start))
        stop = int(np.searchsorted(bounds, start + round_size, side="right")) - 1
        sizes = np.diff(bounds)
        places = []
        for size in sorted({*self._sizes.in_block} - {1}, reverse=True):
            of_size = np.flatnonzero(sizes == size)
            low, high = np.searchsorted(of_size, (first, stop))
            if low < high:
                own = bounds[of_size[low:high], np.newaxis] - start + np.arange(size)
                places.append(Places(own, cycle_number * len(of_size) + int(low)))
        return places

    def _round(self, bucket: _Bucket, round_number: int, generator: np.random.Generator) -> Indices:
        """Returns the utterances of one round in random order, int32 [uses_per_round]."""
        size = len(bucket.members)
        if bucket.uses_per_round == size:
            return generator.permutation(size).astype(np.int32)
        # A speaker who has too many utterances uses some in this round and others in the next.
        limit = _speaker_limit(bucket.speakers, self._sizes.largest)
        by_speaker = np.argsort(bucket.speakers, kind="stable").astype(np.int32)
        _, starts, counts = np.unique(
            bucket.speakers[by_speaker], return_index=True, return_counts=True
        )
        chosen = [
            by_speaker[begin + (round_number * limit + np.arange(min(count, limit))) % count]
            for begin, count in zip(starts, counts, strict=True)
        ]
        return generator.permutation(np.concatenate(chosen))


def uses_per_round(speakers: Indices, group_size: int) -> int:
    """Returns the number of utterances that can meet others in a round of groups.

    Args:
        speakers: int32 [utterances], the speaker of each utterance.
        group_size: the number of utterances in a group; in the largest ones, if sizes differ.

    Raises:
        ValueError: there are fewer speakers than a group needs.
    """
    counts = np.unique(speakers, return_counts=True)[1]
    return int(np.minimum(counts, _speaker_limit(speakers, group_size)).sum())


def _spread(speakers: Indices, generator: np.random.Generator) -> Indices:
    """Orders utterances so that each speaker's are spread evenly, and every bucket has its share.

    Returns:
        int32 [utterances], indices.
    """
    shuffled = generator.permutation(len(speakers)).astype(np.int32)
    by_speaker = shuffled[np.argsort(speakers[shuffled], kind="stable")]
    _, starts, counts = np.unique(speakers[by_speaker], return_index=True, return_counts=True)
    rank = np.arange(len(speakers)) - np.repeat(starts, counts)
    place = (rank + generator.random(len(speakers))) / np.repeat(counts, counts)
    return by_speaker[np.argsort(place, kind="stable")]


def _speaker_limit(speakers: Indices, group_size: int) -> int:
    """Returns the most utterances of one speaker that a round can use.

    No group has two of one speaker, so no speaker can have more than there are groups.

    Raises:
        ValueError: there are fewer speakers than a group needs.
    """
    counts = np.sort(np.unique(speakers, return_counts=True)[1])
    if len(counts) < group_size:
        raise ValueError(f"{len(counts)} speakers are too few for mixtures of {group_size}")
    limit = int(counts[-1])
    while int(np.minimum(counts, limit).sum()) < group_size * limit:
        limit = int(np.minimum(counts, limit).sum()) // group_size
    return limit


def _part_speakers(
    uses: Indices,
    groups: _Groups,
    round_size: int,
    num_passes: int,
    generator: np.random.Generator,
    women: Flags | None = None,
) -> bool:
    """Swaps utterances, in place and within their round, until no group has a speaker twice.

    Args:
        uses: int32 [uses], changed in place.
        groups: of the uses, changed in place.
        round_size: the number of uses in a round.
        num_passes: how often to go through all repetitions at most.
        generator: of random numbers.
        women: bool [uses], true for a woman's; if given, only uses of one gender are swapped.

    Returns:
        Whether it succeeded. Each swap removes a repetition and adds none, but if one speaker has a
        use in almost every group, there may be no such swap left to make. Then another one is made,
        for the next pass to go on from.
    """
    speakers = groups.speakers
    for _ in range(num_passes):
        is_stuck = False
        for group in groups.with_repeated_speakers():
            start, stop = groups.bounds[group : group + 2].tolist()
            for place in range(start + 1, stop):
                if speakers[place] not in speakers[start:place]:
                    continue
                others = np.delete(speakers[start:stop], place - start)
                first = place // round_size * round_size
                alike = None if women is None else women == women[place]
                partner = _find_partner(
                    groups, speakers[place], others, first, round_size, generator, alike
                )
                if partner is None:
                    is_stuck = True
                    same_round = np.arange(first, first + round_size)
                    allowed = same_round if alike is None else same_round[alike[same_round]]
                    partner = int(generator.choice(allowed))
                for swapped in (speakers, uses):
                    swapped[place], swapped[partner] = swapped[partner], swapped[place]
        if not is_stuck:
            return True
    return False


def _find_partner(
    groups: _Groups,
    speaker: np.int32,
    others: Indices,
    first: int,
    round_size: int,
    generator: np.random.Generator,
    alike: Flags | None,
) -> int | None:
    """Finds a use, in the round that begins at `first`, to swap with one of `speaker`'s.

    Its group must not have `speaker`, and its own speaker must not be among `others`. If `alike` is
    given, only a use for which it is true will do.
    """
    speakers = groups.speakers
    for probe in generator.integers(first, first + round_size, _NUM_PROBES):
        if alike is not None and not alike[probe]:
            continue
        if speakers[probe] not in others and speaker not in groups.of(groups.numbers[probe]):
            return int(probe)
    fits = ~np.isin(speakers, others)
    fits &= ~np.isin(groups.numbers, groups.numbers[speakers == speaker])
    if alike is not None:
        fits &= alike
    places = np.flatnonzero(fits[first : first + round_size])
    return first + int(generator.choice(places)) if len(places) else None

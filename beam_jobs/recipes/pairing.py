"""Chooses the utterances that meet in each mixture.

A round uses every utterance of a split once, and rounds follow one another until there are enough
mixtures. So every utterance is used equally often, give or take one. The number of a mixture is
enough to find its utterances, without the mixtures before it: any shard can be planned alone, and a
plan of millions of mixtures is never in memory.

A round is made of buckets, each small enough for its groups to be found in milliseconds.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.recipes.gender_share import Flags, GenderShare, Places, share_places
from beam_jobs.recipes.random_numbers import keyed_generator

Indices = npt.NDArray[np.int32]

# Divisible by every number of speakers, so that only groups of the last bucket reach into the next
# round.
BUCKET_SIZE = 15_360

# Random probes soon find a partner, unless one speaker has most of the utterances.
_NUM_PROBES = 30

# If this many attempts to separate speakers within their gender fail, one gender has too few
# speakers, and swaps between genders are allowed.
_NUM_GENDER_ATTEMPTS = 4


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

    def groups_before(self, round_number: int, group_size: int) -> int:
        """Returns the number of groups that begin before a round does."""
        return -(-round_number * self.uses_per_round // group_size)


class Pairing:
    """An endless sequence of groups of utterances, without two of one speaker in any group."""

    def __init__(
        self,
        speakers: Indices,
        *,
        group_size: int,
        key: Sequence[object],
        genders: GenderShare | None = None,
    ) -> None:
        """Divides the utterances into buckets.

        Args:
            speakers: int32 [utterances], the speaker of each utterance.
            group_size: the number of utterances in a group, 1 to 5.
            key: of the random numbers; another key gives another sequence.
            genders: the share of groups of one gender; None to ignore genders.

        Raises:
            ValueError: there are fewer speakers than a group needs.
        """
        self._group_size = group_size
        self._genders = genders
        self._key = tuple(key)
        order = _spread(speakers, keyed_generator(*key, "spread"))
        num_buckets = max(1, len(speakers) // BUCKET_SIZE)
        bounds = [number * BUCKET_SIZE for number in range(num_buckets)] + [len(speakers)]
        self._buckets = []
        for number in range(num_buckets):
            members = order[bounds[number] : bounds[number + 1]]
            uses = uses_per_round(speakers[members], group_size)
            self._buckets.append(_Bucket(number, members, speakers[members], uses))
        self._cycle = functools.lru_cache(maxsize=4)(self._make_cycle)

    @property
    def groups_per_round(self) -> int:
        """The number of whole groups in one round."""
        return sum(bucket.uses_per_round for bucket in self._buckets) // self._group_size

    def groups(self, start: int, stop: int) -> Iterator[Indices]:
        """Yields the groups from number `start` to `stop`, each int32 [group_size], indices."""
        round_number = start // max(self.groups_per_round, 1)
        while self._groups_before(round_number) > start:
            round_number -= 1
        position = self._groups_before(round_number)
        while position < stop:
            for bucket in self._buckets:
                first = bucket.groups_before(round_number, self._group_size)
                count = bucket.groups_before(round_number + 1, self._group_size) - first
                low, high = max(start - position, 0), min(stop - position, count)
                if low < high:
                    cycle_number, number = divmod(round_number, self._group_size)
                    skipped = bucket.groups_before(number, self._group_size)
                    cycle = self._cycle(bucket.number, cycle_number)
                    yield from bucket.members[cycle[skipped + low : skipped + high]]
                position += count
            round_number += 1

    def _groups_before(self, round_number: int) -> int:
        return sum(bucket.groups_before(round_number, self._group_size) for bucket in self._buckets)

    def _make_cycle(self, bucket_number: int, cycle_number: int) -> Indices:
        """Returns the groups of `group_size` rounds of a bucket, after which no group is open."""
        bucket = self._buckets[bucket_number]
        attempt = 0
        while True:
            generator = keyed_generator(*self._key, bucket_number, cycle_number, attempt)
            rounds = [
                self._round(bucket, self._group_size * cycle_number + number, generator)
                for number in range(self._group_size)
            ]
            women = None
            if genders := self._genders:
                rounds = self._seat_genders(genders, bucket, cycle_number, rounds, generator)
                if attempt < _NUM_GENDER_ATTEMPTS:
                    women = genders.women[bucket.members[np.concatenate(rounds)]]
            uses = np.concatenate(rounds)
            if _part_speakers(
                uses, bucket.speakers, self._group_size, bucket.uses_per_round, generator, women
            ):
                return uses.reshape(-1, self._group_size)
            attempt += 1

    def _seat_genders(
        self,
        genders: GenderShare,
        bucket: _Bucket,
        cycle_number: int,
        rounds: Sequence[Indices],
        generator: np.random.Generator,
    ) -> list[Indices]:
        """Orders the utterances of each round of a cycle so that genders meet as asked."""
        size, round_size = self._group_size, bucket.uses_per_round
        seated = []
        for number, uses in enumerate(rounds):
            first = -(-number * round_size // size)
            stop = (number + 1) * round_size // size
            places = Places(
                group_size=size,
                num_groups=max(stop - first, 0),
                head=first * size - number * round_size,
                tail=(number + 1) * round_size - stop * size,
                first_group=cycle_number * round_size + first,
            )
            women = genders.women[bucket.members[uses]]
            speakers = bucket.speakers[uses]
            alone = (
                len(np.unique(speakers[women])) >= size,
                len(np.unique(speakers[~women])) >= size,
            )
            for_women = share_places(places, int(women.sum()), genders.same, alone, generator)
            if for_women is None:
                seated.append(uses)
                continue
            seated.append(np.empty_like(uses))
            seated[-1][for_women], seated[-1][~for_women] = uses[women], uses[~women]
        return seated

    def _round(self, bucket: _Bucket, round_number: int, generator: np.random.Generator) -> Indices:
        """Returns the utterances of one round in random order, int32 [uses_per_round]."""
        size = len(bucket.members)
        if bucket.uses_per_round == size:
            return generator.permutation(size).astype(np.int32)
        # A speaker who has too many utterances uses some in this round and others in the next.
        limit = _speaker_limit(bucket.speakers, self._group_size)
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
        group_size: the number of utterances in a group, 1 to 5.

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
    speakers: Indices,
    group_size: int,
    round_size: int,
    generator: np.random.Generator,
    women: Flags | None = None,
) -> bool:
    """Swaps utterances, in place and within their round, until no group has a speaker twice.

    Args:
        uses: int32 [rounds * round_size], changed in place; consecutive ones make a group.
        speakers: int32 [utterances], the speaker of each.
        group_size: the number of utterances in a group.
        round_size: the number of uses in a round.
        generator: of random numbers.
        women: bool [uses], true for a woman's; if given, only uses of one gender are swapped.

    Returns:
        Whether it succeeded. Each swap removes a repetition and adds none, but if one speaker has a
        use in almost every group, there may be no swap left to make.
    """
    groups = speakers[uses].reshape(-1, group_size)
    ordered = np.sort(groups, axis=1)
    repeating = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    for group in repeating:
        for slot in range(1, group_size):
            speaker = groups[group, slot]
            if speaker not in groups[group, :slot]:
                continue
            place = group * group_size + slot
            others = np.delete(groups[group], slot)
            first = place // round_size * round_size
            alike = None if women is None else women == women[place]
            partner = _find_partner(groups, speaker, others, first, round_size, generator, alike)
            if partner is None:
                return False
            flat = groups.reshape(-1)
            flat[place], flat[partner] = flat[partner], flat[place]
            uses[place], uses[partner] = uses[partner], uses[place]
    return True


def _find_partner(
    groups: Indices,
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
    group_size = groups.shape[1]
    flat = groups.reshape(-1)
    for probe in generator.integers(first, first + round_size, _NUM_PROBES):
        if alike is not None and not alike[probe]:
            continue
        if flat[probe] not in others and speaker not in groups[probe // group_size]:
            return int(probe)
    fits = (~np.isin(groups, others) & (groups != speaker).all(axis=1, keepdims=True)).reshape(-1)
    if alike is not None:
        fits &= alike
    places = np.flatnonzero(fits[first : first + round_size])
    return first + int(generator.choice(places)) if len(places) else None

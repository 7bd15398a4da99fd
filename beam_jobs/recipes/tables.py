"""Chooses the utterances of the mixtures of each shard: few of them, each used several times.

An utterance that several mixtures of a shard share is read, decoded and resampled once for all of
them. So where a dataset uses its utterances more than once, the groups of a pairing are not yet
mixtures. Groups that follow each other make a table, in which their utterances meet in turns: each
turn uses all of them once, with other partners. Where mixtures are of several numbers of
utterances, a table is of whole blocks, and an utterance meets others in groups of one size.

The pairing goes through all utterances round by round. Therefore tables are drawn anew with each
round, and over the dataset everyone meets everyone; and since all tables have as many turns, give
or take one, every utterance is used equally often, give or take one. Two cases need care:

- Utterances that do not divide into blocks are left over, and so are mixtures that do not. These
  utterances meet each other and a few more in mixtures of their own, which are spread over all
  shards.
- A speaker with more utterances than can meet others uses some in one round and others in the next.
  Then the groups are the mixtures, as they are where every utterance is used once.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.recipes.gender_share import Flags, GenderShare
from beam_jobs.recipes.group_sizes import GroupSizes, Indices
from beam_jobs.recipes.pairing import Pairing
from beam_jobs.recipes.random_numbers import keyed_generator

# A larger shard has several tables, so that a worker need not keep more utterances than one has.
_MAX_MIXTURES_PER_TABLE = 256

# The share of the meetings in a table that has to be of utterances that have not met there before.
_MIN_MET_FIRST = 0.97


class Tables:
    """The utterances of the mixtures of a split, shard by shard.

    Attributes:
        max_uses: how often the mixtures of a table use an utterance at most; 1 without tables.
    """

    def __init__(
        self,
        speakers: Indices,
        *,
        sizes: GroupSizes,
        key: Sequence[object],
        num_mixtures: int,
        num_shards: int,
        max_uses: int | None = None,
        genders: GenderShare | None = None,
    ) -> None:
        """Decides how often utterances are used in a shard, and which ones are left over.

        Args:
            speakers: int32 [utterances], the speaker of each utterance.
            sizes: the number of utterances in each mixture.
            key: of the random numbers; another key gives other mixtures.
            num_mixtures: of the split.
            num_shards: of the split; no more than mixtures.
            max_uses: of an utterance in its table, and at most half the blocks of the table; None
                for as many as the table has partners for it.
            genders: the share of mixtures of one gender; None to ignore genders.

        Raises:
            ValueError: there are fewer speakers than a mixture needs.
        """
        self._speakers = speakers
        self._sizes = sizes
        self._key = tuple(key)
        self._genders = genders
        self._num_shards = num_shards
        self._tables_per_shard = math.ceil(num_mixtures / num_shards / _MAX_MIXTURES_PER_TABLE)
        self._num_tables = num_shards * self._tables_per_shard
        self._num_left_over = 0
        # Tables are of whole blocks, and without them any mixture may be the last of a shard.
        self._mixtures_per_unit = sizes.groups_per_block
        if not self._share(num_mixtures, max_uses):
            self.max_uses = 1
            self._members: Indices = np.arange(len(speakers), dtype=np.int32)
            self._pairing = self._pair(self._members)
            self._mixtures_per_unit = 1
            self._num_shared = self._num_used_most = num_mixtures

    def shard_range(self, index: int) -> tuple[int, int]:
        """Returns the numbers of a shard's first mixture and of the one after its last."""
        return self._mixtures_before(index), self._mixtures_before(index + 1)

    def groups(self, index: int) -> Iterator[Indices]:
        """Yields the groups of a shard, each int32 [size], indices."""
        first_table = index * self._tables_per_shard
        for table in range(first_table, first_table + self._tables_per_shard):
            first, stop = self._first_unit(table), self._first_unit(table + 1)
            if self.max_uses == 1:
                yield from (self._members[group] for group in self._pairing.groups(first, stop))
            elif first < stop:
                blocks = self._members[np.array(list(self._pairing.blocks(first, stop)))]
                num_used_most = min(max(self._num_used_most - first, 0), stop - first)
                for block in self._turn(table, blocks, num_used_most):
                    yield from self._sizes.cut(block)
        if self._num_left_over:
            for group in self._pairing_left_over.groups(
                self._num_left_over * index // self._num_shards,
                self._num_left_over * (index + 1) // self._num_shards,
            ):
                yield self._left_over[group]

    def _share(self, num_mixtures: int, max_uses: int | None) -> bool:
        """Decides on the tables, and returns whether there are any."""
        sizes, num_utterances = self._sizes, len(self._speakers)
        block_size, per_block = sizes.block_size, sizes.groups_per_block
        uses = sizes.num_utterances(num_mixtures) // num_utterances
        num_blocks, num_over = divmod(num_utterances, block_size)
        if num_mixtures % per_block and not num_over:
            # Mixtures that make no whole block need utterances of their own.
            num_blocks -= 1
        most = int(np.unique(self._speakers, return_counts=True)[1].max())
        if not uses or most > num_blocks * (block_size // sizes.largest):
            return False
        generator = keyed_generator(*self._key, "left over")
        self._members, self._left_over = _set_apart(
            self._speakers, num_blocks, block_size, generator
        )
        round_size = len(self._members) // block_size
        if not round_size:
            return False
        self._pairing = self._pair(self._members)
        # In a bucket of the pairing, a speaker may have too many utterances.
        if self._pairing.blocks_per_round < round_size:
            return False
        # As many as leave `uses` of each utterance to both parts, or one more.
        num_open = num_mixtures % per_block
        least = uses * len(self._left_over) - sizes.num_utterances(num_open)
        num_left_over = max(
            -(-max(least, 0) // block_size) * per_block + num_open,
            num_mixtures - (uses + 1) * round_size * per_block,
        )
        self._num_shared = (num_mixtures - num_left_over) // per_block
        most_uses = self._most_uses(num_mixtures / self._num_tables / per_block, max_uses)
        num_groups = round_size * -(-self._num_shared // (round_size * most_uses))
        self.max_uses = -(-self._num_shared // num_groups)
        if self.max_uses == 1:
            return False
        self._num_used_most = self._num_shared - (self.max_uses - 1) * num_groups
        self._num_left_over = num_left_over
        if num_left_over:
            self._pairing_left_over = self._pair(self._left_over, "left over")
        return True

    def _most_uses(self, blocks_per_table: float, asked: int | None) -> int:
        if asked is not None:
            return max(min(asked, int(blocks_per_table / 2)), 1)
        # Who is alone meets nobody, whatever the number of uses.
        columns = {size: own for size, own in self._sizes.columns().items() if size > 1}
        return min(
            _most_uses(
                blocks_per_table * len(own),
                size,
                [1.0] if self._genders is None else self._genders.kinds(size),
            )
            for size, own in (columns or self._sizes.columns()).items()
        )

    def _pair(self, members: Indices, *name: str) -> Pairing:
        genders = self._genders
        return Pairing(
            self._speakers[members],
            sizes=self._sizes,
            key=(*self._key, *name),
            genders=genders and GenderShare(genders.women[members], genders.same),
        )

    def _first_unit(self, table: int) -> int:
        """Returns the first unit of a table, so that all tables have about as many mixtures."""
        shared = self._num_shared * table // self._num_tables
        used_most = min(shared // self.max_uses, self._num_used_most)
        shared -= used_most * self.max_uses
        if used_most < self._num_used_most:
            return used_most
        return used_most + shared // max(self.max_uses - 1, 1)

    def _mixtures_before(self, index: int) -> int:
        units = self._first_unit(index * self._tables_per_shard)
        shared = (self.max_uses - 1) * units + min(units, self._num_used_most)
        return shared * self._mixtures_per_unit + self._num_left_over * index // self._num_shards

    def _turn(self, number: int, blocks: Indices, num_used_most: int) -> Iterator[Indices]:
        """Yields the blocks of mixtures of a table.

        Args:
            number: of the table.
            blocks: int32 [blocks, block_size], the pairing's.
            num_used_most: the number of blocks, the first ones, that are used once more than the
                others.
        """
        generator = keyed_generator(*self._key, "table", number)
        table = self._lay(blocks, generator)
        for turn in range(self.max_uses - 1):
            yield from table.seat(turn, generator)
        if num_used_most:
            if num_used_most < len(blocks):
                table = self._lay(blocks[:num_used_most], generator)
            yield from table.seat(self.max_uses - 1, generator)

    def _lay(self, blocks: Indices, generator: np.random.Generator) -> "_Table":
        women = np.zeros(blocks.shape, bool)
        if self._genders is not None:
            women = self._genders.women[blocks]
        return _Table(blocks, self._speakers[blocks], women, self._sizes, generator)


def _most_uses(num_mixtures: float, group_size: int, shares: Sequence[float]) -> int:
    """Returns how often the utterances of a table can be used without meeting the same ones again.

    Args:
        num_mixtures: of the table.
        group_size: the number of utterances in a mixture.
        shares: the share of each kind of mixture; an utterance stays in those of one kind.
    """
    uses = 1
    while uses < num_mixtures:
        num_groups = num_mixtures / (uses + 1)
        num_met = (uses + 1) * max(group_size - 1, 1)
        met_first = sum(share * min(share * num_groups / num_met, 1) for share in shares)
        if met_first < _MIN_MET_FIRST:
            break
        uses += 1
    return uses


class _Table:
    """Utterances that meet in turns, in groups of the sizes of blocks."""

    def __init__(
        self,
        blocks: Indices,
        speakers: Indices,
        women: Flags,
        sizes: GroupSizes,
        generator: np.random.Generator,
    ) -> None:
        """Gives every utterance a seat.

        Args:
            blocks: int32 [blocks, block_size], without two of one speaker in any group.
            speakers: int32 [blocks, block_size], the speaker of each.
            women: bool [blocks, block_size], true for a woman's.
            sizes: of the groups.
            generator: of random numbers.
        """
        self._shape = blocks.shape
        self._circles = []
        for size, columns in sizes.columns().items():
            groups = (-1, size)
            circles = _Circles(
                blocks[:, columns].reshape(groups),
                speakers[:, columns].reshape(groups),
                women[:, columns].reshape(groups),
                generator,
            )
            self._circles.append((columns, circles))

    def seat(self, turn: int, generator: np.random.Generator) -> Indices:
        """Returns the blocks of a turn, int32 [blocks, block_size]."""
        seated = np.empty(self._shape, np.int32)
        for columns, circles in self._circles:
            groups = circles.seat(turn, generator)
            seated[:, columns] = groups.reshape(-1, *columns.shape)
        return seated


class _Circles:
    """Utterances that meet in turns, in groups of one size."""

    def __init__(
        self,
        groups: Indices,
        speakers: Indices,
        women: Flags,
        generator: np.random.Generator,
    ) -> None:
        """Gives every utterance a seat.

        The groups with the same number of women are a circle of their own, of a row for each member
        of a group.

        Args:
            groups: int32 [groups, group_size], without two of one speaker in any group.
            speakers: int32 [groups, group_size], the speaker of each.
            women: bool [groups, group_size], true for a woman's.
            generator: of random numbers.
        """
        self._shape = groups.shape
        self._circles = []
        num_women = women.sum(axis=1)
        for count in np.unique(num_women):
            places = np.flatnonzero(num_women == count)
            rows, first_step = [], 1
            for of_gender in (women[places], ~women[places]):
                members, names = groups[places][of_gender], speakers[places][of_gender]
                order, first = _in_rows(names, len(places), generator)
                rows.append(members[order].reshape(-1, len(places)))
                first_step = max(first_step, first)
            steps = np.append(0, np.arange(first_step, len(places)))
            self._circles.append((places, np.concatenate(rows), steps))

    def seat(self, turn: int, generator: np.random.Generator) -> Indices:
        """Returns the groups of a turn, int32 [groups, group_size], in random order."""
        seated = np.empty(self._shape, np.int32)
        for places, rows, steps in self._circles:
            step = steps[turn % len(steps)]
            columns = generator.permutation(len(places))
            moved = columns + step * np.arange(len(rows))[:, np.newaxis]
            seated[places] = np.take_along_axis(rows, moved % len(places), axis=1).T
        return generator.permuted(seated, axis=1)


def _set_apart(
    speakers: Indices, num_blocks: int, block_size: int, generator: np.random.Generator
) -> tuple[Indices, Indices]:
    """Sets so few utterances apart that the others divide into blocks of different speakers.

    Args:
        speakers: int32 [utterances], the speaker of each utterance.
        num_blocks: the number of whole blocks of them all, or one less.
        block_size: the number of utterances in a block.
        generator: of random numbers.

    Returns:
        int32 [utterances], the indices of the others, and those set apart. If nobody has more
        utterances than there are groups that can have one, this also holds for each of the two.
    """
    num_over = len(speakers) - num_blocks * block_size
    order = _by_speaker(speakers, generator)
    # Dealt out by speaker, everyone's utterances are in different blocks, even in those that get
    # one more. These are set apart.
    is_apart = np.arange(len(speakers)) % max(num_blocks, 1) < num_over
    return np.sort(order[~is_apart]), np.sort(order[is_apart])


def _by_speaker(speakers: Indices, generator: np.random.Generator) -> Indices:
    """Returns the order that puts speakers in random order, int32 [utterances]."""
    names, numbers = np.unique(speakers, return_inverse=True)
    shuffled = generator.permutation(len(speakers))
    ranks = generator.permutation(len(names))[numbers]
    order: Indices = shuffled[np.argsort(ranks[shuffled], kind="stable")].astype(np.int32)
    return order


def _in_rows(
    speakers: Indices, row_size: int, generator: np.random.Generator
) -> tuple[Indices, int]:
    """Arranges utterances in rows, so that nobody meets herself where the rows move in steps.

    Args:
        speakers: int32 [rows * row_size], the speaker of each; nobody has more than `row_size`.
        row_size: the number of utterances in a row.
        generator: of random numbers.

    Returns:
        The order, int32 [rows * row_size]; and the least step that is allowed, besides none, by
        which each row moves against the one before it, 1 if all are.
    """
    # A speaker is in one row, in any place; or at the end of one and the beginning of the next.
    order = _by_speaker(speakers, generator)
    names = speakers[order]
    first_step = 1
    for start in range(0, len(names), row_size):
        row = names[start : start + row_size]
        low, high = start, start + len(row)
        if start and row[0] == names[start - 1]:
            low += int((row == row[0]).sum())
            first_step = max(first_step, int((names == row[0]).sum()))
        if high < len(names) and row[-1] == names[high]:
            high -= int((row == row[-1]).sum())
        order[low:high] = generator.permutation(order[low:high])
    return order, first_step

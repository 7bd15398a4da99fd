"""TODO."""

import itertools
from collections.abc import Container, Iterator, Sequence

import numpy as np

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.recipes.given_recipes import _NUM_NAMED, GivenRecipes, _candidates
from beam_jobs.recipes.plan import (
    Draft,
    NothingToDoError,
    NoUtteranceLeftError,
    choose_num_shards,
    shard_range,
)
from beam_jobs.recipes.recipe_format import BadRecipeError, Row
from beam_jobs.runtime.dead_letters import Rejected
from schemas.dataset import SPLITS, Shard, Split
from schemas.recipe import Recipe


class GivenPlan:
    """The recipes of a dataset, shard by shard."""

    def __init__(
        self, catalogue: Catalogue, given: GivenRecipes, rejected: Sequence[Rejected], asked: int
    ) -> None:
        """Makes the plan.

        Args:
            catalogue: the files that the recipes name.
            given: the recipes.
            rejected: what the corpora lack, and the lines that are no recipes.
            asked: how many shards each split shall have; 0 to choose.

        Raises:
            NothingToDoError: something is lacking, and the rest alone was not asked for.
        """
        if rejected and not given.skip_missing:
            listed = "; ".join(f"{one.path}: {one.reason}" for one in rejected[:_NUM_NAMED])
            more = f" and {len(rejected) - _NUM_NAMED} more" if rejected[_NUM_NAMED:] else ""
            raise NothingToDoError(
                f"{len(rejected)} things that the recipes need are not there ({listed}{more}; all"
                " are in rejected.jsonl): mend that, or render the rest with --skip_missing_recipes"
            )
        self._catalogue = catalogue
        self._given = given
        self._rows = catalogue.rows_by_id()
        counts = {split: sum(file.counts.get(split, 0) for file in given.files) for split in SPLITS}
        self.counts = {split: count for split, count in counts.items() if count}
        """The number of mixtures of each split that has any."""
        self._num_shards = {
            split: choose_num_shards(count, asked) for split, count in self.counts.items()
        }

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards of all splits."""
        return tuple(
            Shard(split, index, count)
            for split, count in self._num_shards.items()
            for index in range(count)
        )

    def left_out(self) -> dict[Split, int]:
        """Nothing: whoever gives recipes says what splits there are."""
        return {}

    def drafts(self, shard: Shard) -> Iterator[Draft]:
        """Yields the mixtures of a shard whose files are all there, in order."""
        start, stop = shard_range(shard, self.counts[shard.split])  # type: ignore[index]
        for row in self._rows_between(shard.split, start, stop):
            try:
                candidates = _candidates(row, self._given)
                rows = [self._rows[candidate.utterance] for _, candidate in candidates]
                named = self._catalogue.utterances(np.array(rows))
                recipe = self._given.format.recipe(row, named, self._given.context)
            except (BadRecipeError, KeyError) as error:
                self._check_skipped(str(error))
                continue
            yield Draft(recipe.id, recipe.split, tuple(rows), tuple(named), recipe)

    def recipe(self, draft: Draft) -> Recipe:
        """The recipe of a mixture."""
        assert draft.recipe is not None
        return draft.recipe

    def redraft(self, draft: Draft, unusable: Container[int]) -> Draft:
        """Never: what is given has nothing in its place.

        Raises:
            NoUtteranceLeftError: the mixture is gone without.
            NothingToDoError: that was not asked for.
        """
        paths = [
            utterance.path
            for row, utterance in zip(draft.rows, draft.utterances, strict=True)
            if row in unusable
        ]
        self._check_skipped(f"{draft.id}: can't be decoded: {', '.join(paths)}")
        raise NoUtteranceLeftError(draft.id)

    def _check_skipped(self, reason: str) -> None:
        if not self._given.skip_missing:
            raise NothingToDoError(
                f"{reason}: mend that, or render the rest with --skip_missing_recipes"
            )

    def _rows_between(self, split: str, start: int, stop: int) -> Iterator[Row]:
        """The rows of a split from number `start` to `stop`, without reading other files."""
        position = 0
        for file in self._given.files:
            count = file.counts.get(split, 0)
            low, high = max(start - position, 0), min(stop - position, count)
            if low < high:
                read_rows = self._given.format.read_rows
                rows = (row for _, row in read_rows(file.path, self._given.context))
                of_split = (
                    row
                    for row in rows
                    if not isinstance(row, BadRecipeError)
                    and self._given.format.split(row) == split
                )
                yield from itertools.islice(of_split, low, high)
            position += count

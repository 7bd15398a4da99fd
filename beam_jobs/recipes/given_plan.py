"""The plan of a dataset whose recipes the user gives."""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.recipes.given_recipes import GivenRecipes
from beam_jobs.recipes.plan import (
    Draft,
    NothingToDoError,
    NoUtteranceLeftError,
    choose_num_shards,
)
from beam_jobs.recipes.recipe_format import BadRecipeError
from beam_jobs.runtime.dead_letters import Rejected
from schemas.dataset import SPLITS, Shard

# Nobody reads a message with more names than this.
_MAX_NAMED = 20


class GivenPlan:
    """A plan that follows given recipes, in the order of their files.

    Attributes:
        counts: the number of mixtures of each split that has any.
        num_not_enrolled: 0: given recipes leave out nobody.
    """

    num_not_enrolled = 0

    def __init__(
        self,
        catalogue: Catalogue,
        given: GivenRecipes,
        rejected: Sequence[Rejected],
        num_shards: int,
    ) -> None:
        """Divides the recipes into shards.

        Args:
            catalogue: the files that the recipes name.
            given: the recipes.
            rejected: the files that can't be used, and the lines that are not recipes.
            num_shards: of each split; 0 to choose by the number of mixtures.

        Raises:
            NothingToDoError: something was rejected, and the user did not ask for the rest alone.
        """
        if rejected and not given.skip_missing:
            listed = "; ".join(f"{one.path}: {one.reason}" for one in rejected[:_MAX_NAMED])
            more = f" and {len(rejected) - _MAX_NAMED} more" if rejected[_MAX_NAMED:] else ""
            raise NothingToDoError(
                f"{len(rejected)} things that the recipes need are not there ({listed}{more}; all"
                " are in rejected.jsonl): mend that, or render the rest with --skip_missing_recipes"
            )
        self._catalogue = catalogue
        self._given = given
        self._most_sources = given.source_numbers[-1]
        self._entries = catalogue.entries_by_id()
        counts = {split: sum(file.counts.get(split, 0) for file in given.files) for split in SPLITS}
        self.counts: Mapping[str, int] = {split: count for split, count in counts.items() if count}
        self._bounds = {
            split: self._divide(split, choose_num_shards(count, num_shards))
            for split, count in self.counts.items()
        }

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards of all splits."""
        return tuple(
            Shard(split, index, len(bounds) - 1)
            for split, bounds in self._bounds.items()
            for index in range(len(bounds) - 1)
        )

    def left_out(self) -> Mapping[str, int]:
        """Returns nothing: given recipes ask for no splits but their own."""
        return {}

    def drafts(self, shard: Shard) -> Iterator[Draft]:
        """Yields the mixtures of a shard whose files are all there, in order."""
        start, stop = self._bounds[shard.split][shard.index :][:2]
        for given in self._given.read_range(shard.split, start, stop):
            try:
                named = self._given.named_files(given)
                entries = tuple(self._entries[candidate.utterance] for _, candidate in named)
                utterances = self._catalogue.utterances(np.array(entries, np.int32))
                for utterance, (_, candidate) in zip(utterances, named, strict=True):
                    if utterance.path != candidate.path:
                        raise BadRecipeError(
                            f"{given.origin}: {candidate.path}: {utterance.path} has the same id,"
                            f" {utterance.id}"
                        )
                recipe = given.complete(utterances)
            except (BadRecipeError, KeyError) as error:
                self._check_skipped(str(error))
                continue
            num_rows = self._most_sources if self._most_sources > len(recipe.rows) else None
            yield Draft(dataclasses.replace(recipe, num_rows=num_rows), entries)

    def redraft(self, draft: Draft, unusable: Collection[int]) -> Draft:
        """Never returns: a given recipe has no substitutes for its files.

        Raises:
            NoUtteranceLeftError: the mixture is left out.
            NothingToDoError: the user did not ask for mixtures to be left out.
        """
        paths = [
            part.path
            for part, entry in zip(draft.recipe.parts, draft.entries, strict=True)
            if entry in unusable
        ]
        self._check_skipped(f"{draft.recipe.id}: can't be decoded: {', '.join(paths)}")
        raise NoUtteranceLeftError(draft.recipe.id)

    def _divide(self, split: str, num_shards: int) -> list[int]:
        """Returns the numbers of the mixtures with which shards begin, and that of all mixtures."""
        # The shards of a dataset that is rendered again are those that it had.
        in_files = [count for file in self._given.files if (count := file.counts.get(split, 0))]
        if len(in_files) == num_shards:
            return [0, *itertools.accumulate(in_files)]
        return [self.counts[split] * index // num_shards for index in range(num_shards + 1)]

    def _check_skipped(self, reason: str) -> None:
        if not self._given.skip_missing:
            raise NothingToDoError(
                f"{reason}: mend that, or render the rest with --skip_missing_recipes"
            )

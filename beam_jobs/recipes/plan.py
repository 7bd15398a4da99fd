"""TODO."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from beam_jobs.recipes.scene import NO_FILES, SceneFiles
from schemas.dataset import Shard, Split
from schemas.errors import UserError
from schemas.recipe import Recipe, Utterance
from schemas.recipe_config import RecipeConfig

# So many mixtures of a dozen seconds and two speakers are a shard of the 100 to 200 MB that
# TensorFlow's guides advise; and no split has more shards than a file system lists with ease.
_MIXTURES_PER_SHARD, _MIXTURE_S = 128, 12.0
_MIN_SHARDS, _MAX_SHARDS = 8, 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a plan is made from, besides the catalogue.

    Attributes:
        config: what recipes are drawn from.
        seed: any number.
        shares: the share of the speakers in each split; empty to keep the corpus's own splits.
        num_mixtures: in all splits together; 0 to use every utterance once.
        num_shards: of each split; 0 to choose by the number of mixtures.
        sounds: the names of the corpora in which nobody speaks, of `noise` and of `rooms`.
    """

    config: RecipeConfig
    seed: int
    shares: Mapping[Split, float]
    num_mixtures: int
    num_shards: int
    sounds: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A mixture before chance has had its say: who is in it.

    Attributes:
        id: of the mixture.
        split: train, validation or test.
        rows: of the catalogue, the utterances; after them what else a given recipe has.
        utterances: in the rows; those of a speaker are next to each other, and only in a
            conversation several.
        recipe: where it is given, and nothing is left to chance.
        scene: the files of its noise and of its room, where they are drawn.
    """

    id: str
    split: str
    rows: tuple[int, ...]
    utterances: tuple[Utterance, ...]
    recipe: Recipe | None = None
    scene: SceneFiles = NO_FILES

    @property
    def part_rows(self) -> tuple[int, ...]:
        """The row of the catalogue of each part of the recipe."""
        return self.rows + self.scene.rows


class NothingToDoError(UserError):
    """The input leaves nothing to do; the message says what to change."""


class NoUtteranceLeftError(Exception):
    """There are too few utterances for a mixture that can be decoded."""


def choose_num_shards(num_mixtures: int, asked: int, mixture_s: float = _MIXTURE_S) -> int:
    """How many shards so many mixtures are divided into: as asked, or if that is 0, as is best."""
    wanted = math.ceil(num_mixtures * mixture_s / (_MIXTURES_PER_SHARD * _MIXTURE_S))
    return min(asked or min(max(wanted, _MIN_SHARDS), _MAX_SHARDS), num_mixtures)


def shard_range(shard: Shard, num_mixtures: int) -> tuple[int, int]:
    """The numbers of a shard's first mixture, and of the one after its last."""
    start = num_mixtures * shard.index // shard.count
    return start, num_mixtures * (shard.index + 1) // shard.count


class Plan(Protocol):
    """Which mixtures a dataset has, shard by shard; any shard is planned without the others."""

    @property
    def counts(self) -> Mapping[Split, int]:
        """The number of mixtures of each split that has any."""

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards of all splits."""

    def left_out(self) -> Mapping[Split, int]:
        """The splits that were asked for but have no mixtures, and their number of speakers."""

    def drafts(self, shard: Shard) -> Iterator[Draft]:
        """Yields the mixtures of a shard, in order."""

    def recipe(self, draft: Draft) -> Recipe:
        """Returns the recipe of a mixture."""

    def redraft(self, draft: Draft, unusable: Collection[int]) -> Draft:
        """Replaces the files of a mixture that turned out unusable.

        Args:
            draft: as planned.
            unusable: rows of the catalogue.

        Raises:
            NoUtteranceLeftError: no other file can take their place.
        """

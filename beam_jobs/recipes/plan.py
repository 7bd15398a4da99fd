"""Plans of datasets: the mixtures of each shard, and what a plan is made from."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from schemas.dataset import Shard, Split
from schemas.errors import UserError
from schemas.recipe import Recipe
from schemas.recipe_config import RecipeConfig

# 128 mixtures of 12 seconds and two speakers make a shard of the 100 to 200 MB that TensorFlow's
# guides advise.
MIXTURE_S = 12.0
_MIXTURES_PER_SHARD = 128
# Enough for a few workers to share, and no more than a file system lists with ease.
_MIN_SHARDS, _MAX_SHARDS = 8, 10_000


class NothingToDoError(UserError):
    """The input leaves nothing to do; the message says what to change."""


class NoUtteranceLeftError(Exception):
    """A mixture can't be made, because too few files can be decoded."""


@dataclasses.dataclass(frozen=True, slots=True)
class PlanOptions:
    """The choices that a plan is made from, besides the catalogue.

    Attributes:
        config: what recipes are drawn from.
        seed: any number.
        shares: the share of the speakers in each split; empty to keep the corpus's own splits.
        num_mixtures: in all splits together; 0 to use every utterance once.
        num_shards: of each split; 0 to choose by the number of mixtures.
        sounds: the names of the corpora of `noise` and of `rooms`, in which nobody speaks.
    """

    config: RecipeConfig
    seed: int
    shares: Mapping[Split, float]
    num_mixtures: int
    num_shards: int
    sounds: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A mixture as it is planned, before anyone has tried to decode its files.

    Attributes:
        recipe: of the mixture.
        entries: where the catalogue has each of `recipe.parts`, in the same order.
        shared_room: the name of the simulated room that it shares with others; empty for its own.
    """

    recipe: Recipe
    entries: tuple[int, ...]
    shared_room: str = ""


class Plan(Protocol):
    """The mixtures of a dataset, shard by shard; any shard is planned without the others."""

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of mixtures of each split that has any."""

    @property
    def num_not_enrolled(self) -> int:
        """The speakers left out because they have no other utterance for an enrolment."""

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards of all splits."""

    def left_out(self) -> Mapping[str, int]:
        """Returns the number of speakers of each split that should have mixtures but has none."""

    def drafts(self, shard: Shard) -> Iterator[Draft]:
        """Yields the mixtures of a shard, in order."""

    def redraft(self, draft: Draft, unusable: Collection[int]) -> Draft:
        """Returns a mixture with other files in place of those that turned out unusable.

        Args:
            draft: as planned.
            unusable: entries of the catalogue.

        Raises:
            NoUtteranceLeftError: no other file can take their place.
        """


def choose_num_shards(num_mixtures: int, num_shards: int, mixture_s: float = MIXTURE_S) -> int:
    """Returns the number of shards of a split; none is empty.

    Args:
        num_mixtures: of the split.
        num_shards: as the user wants it; 0 to choose a size that reads well.
        mixture_s: how long a mixture is, about.
    """
    wanted = math.ceil(num_mixtures * mixture_s / (_MIXTURES_PER_SHARD * MIXTURE_S))
    return min(num_shards or min(max(wanted, _MIN_SHARDS), _MAX_SHARDS), num_mixtures)

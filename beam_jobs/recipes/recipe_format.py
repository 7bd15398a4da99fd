"""What the formats of recipe files have in common."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from beam_jobs.corpora.layout import Candidate, Corpus
from schemas.errors import UserError
from schemas.recipe import Channels, Recipe, Utterance

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class RecipeContext:
    """What a recipe file leaves open.

    Attributes:
        corpora: by name.
        noise_corpus: where noises are; None to leave them out.
        rooms_corpus: where room responses are, or None.
        sample_rate: of the mixtures, in Hz; 0 for the recipes' own.
        length: of the mixtures, where the recipes do not say it: `min`, `max` or a number of
            seconds; empty to leave it open.
        channels: what becomes of the channels of each file.
    """

    corpora: Mapping[str, Corpus]
    noise_corpus: Corpus | None
    rooms_corpus: Corpus | None
    sample_rate: int
    length: Literal["", "min", "max"] | float
    channels: Channels = "average"


class BadRecipeError(UserError):
    """A line of a recipe file can't be used; the message says why."""


class RecipeFormat(Protocol):
    """A module of this package."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """What messages call it."""

    def recognises(self, first_line: str) -> bool:
        """Whether a file that begins with a line is of this format."""

    def read_rows(
        self, path: str, context: RecipeContext
    ) -> Iterator[tuple[int, Row | BadRecipeError]]:
        """Yields the number of the line and what stands in it, for each mixture.

        Raises:
            UserError: the file as a whole can't be used, or not with this context.
        """

    def split(self, row: Row) -> str:
        """The split of a row's mixture, found without looking at the rest of it."""

    def num_sources(self, row: Row) -> int:
        """How many sources a row's mixture has."""

    def has_noise(self, row: Row, context: RecipeContext) -> bool:
        """Whether there is noise in a row's mixture."""

    def has_rooms(self, row: Row) -> bool:
        """Whether a row's mixture is in a room."""

    def is_mixture_given(self, row: Row) -> bool:
        """Whether a row's mixture is a recording, and not the sum of its parts."""

    def instruments(self, row: Row) -> tuple[str, ...]:
        """The names of a row's sources, where they are the same in all rows."""

    def audio(self, row: Row, context: RecipeContext) -> tuple[int, Channels]:
        """The rate that a row asks for, in Hz, and the channels; those of the files if for none.

        Raises:
            UserError: the row or its files can't be used.
        """

    def candidates(self, row: Row, context: RecipeContext) -> list[tuple[Corpus, Candidate]]:
        """The files of a row, in the order of the recipe's parts.

        Raises:
            BadRecipeError: the row can't be used.
        """

    def recipe(self, row: Row, files: Sequence[Utterance], context: RecipeContext) -> Recipe:
        """The recipe of a row.

        Args:
            row: of the file.
            files: what the headers of `candidates` say, in their order.
            context: what the file leaves open.

        Raises:
            BadRecipeError: the files are not those that the recipe was made for.
        """

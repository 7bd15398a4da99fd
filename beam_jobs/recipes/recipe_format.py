"""Interfaces of the formats of recipe files, and of a recipe that is read from one."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import BadLineError, check_text
from beam_jobs.runtime.dead_letters import Rejected
from schemas.errors import UserError
from schemas.recipe import Channels, Recipe, Utterance


@dataclasses.dataclass(frozen=True, slots=True)
class RecipeContext:
    """The choices that a recipe file leaves to the command line.

    Attributes:
        corpora: the corpora of speech or of songs, by name.
        noise_corpus: the corpus of noise; None to leave noise out.
        rooms_corpus: the corpus of room responses, or None.
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
    """A recipe that can't be used; the message says why."""


def check_id(mixture_id: str) -> None:
    """Checks that a text can be the id of a mixture.

    Raises:
        BadRecipeError: it is empty, or no file can hold it.
    """
    if not mixture_id.strip():
        raise BadRecipeError("no id")
    try:
        check_text("id", mixture_id)
    except BadLineError as error:
        raise BadRecipeError(str(error)) from None


class GivenRecipe(Protocol):
    """A recipe as a line of a file gives it, before the headers of its audio files are read.

    `origin`, `split`, `id`, `num_sources` and `num_rows` cost little, so that the recipes of a
    large file can be counted and skipped. Everything else may check the line first, and raises
    `BadRecipeError` if it is wrong.
    """

    @property
    def origin(self) -> str:
        """The file and the line, such as `train.csv:3`."""

    @property
    def split(self) -> str:
        """The split that the mixture belongs to; any text, if the file says so."""

    @property
    def id(self) -> str:
        """The id of the mixture; empty if the recipe has none that can be used."""

    @property
    def num_sources(self) -> int:
        """The number of sources in the mixture."""

    @property
    def num_rows(self) -> int:
        """The number of rows that the recipe asks for, silent ones included."""

    @property
    def has_noise(self) -> bool:
        """True if the mixture has noise."""

    @property
    def has_rooms(self) -> bool:
        """True if any source is heard in a room."""

    @property
    def has_transmission(self) -> bool:
        """True if the mixture goes through a channel of transmission."""

    @property
    def enrolment_s(self) -> float | None:
        """The length of the enrolment of each speaker, in seconds; None without any."""

    @property
    def mixture_given(self) -> bool:
        """True if the mixture is a recording rather than the sum of its parts."""

    @property
    def instruments(self) -> tuple[str, ...]:
        """The names of the sources, if all mixtures of a dataset have the same; else empty."""

    def audio(self) -> tuple[int, Channels]:
        """Returns the sample rate in Hz and the channels: the recipe's own, or its files'."""

    def named_files(self) -> list[tuple[Corpus, Candidate]]:
        """Returns the audio files that the recipe names, in the order of `Recipe.parts`."""

    def complete(self, files: Sequence[Utterance]) -> Recipe:
        """Returns the complete recipe.

        Args:
            files: what the headers of `named_files` say, in the same order.

        Raises:
            BadRecipeError: the recipe was made for other files.
        """


class RecipeFormat(Protocol):
    """A module that reads one format of recipe files."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """The name of the format in messages."""

    @property
    def read_texts(self) -> Callable[[Corpus, Iterable[str]], Mapping[str, str]] | None:
        """Reads what is said in files of a corpus, given their paths, by the ids of the utterances.

        None if recipes say that themselves, or nobody speaks.
        """

    def recognises(self, first_line: str) -> bool:
        """Returns whether a file that begins with this line is of this format."""

    def read(self, path: str, context: RecipeContext) -> Iterator[GivenRecipe | Rejected]:
        """Yields each recipe of a file, and each line that can't be used, with the reason.

        Raises:
            UserError: the file as a whole can't be used, or not with this context.
        """

"""Recipes as a mixture job writes them: one JSON object of `schemas.recipe` a line."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.audio.codecs import find_missing
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import BadLineError, parse_object, read_lines
from beam_jobs.corpora.sounds import sound_candidate
from beam_jobs.recipes.recipe_format import (
    BadRecipeError,
    GivenRecipe,
    RecipeContext,
    check_id,
)
from beam_jobs.runtime.dead_letters import Rejected
from schemas.errors import UserError
from schemas.recipe import (
    Channels,
    Noise,
    NoiseEvent,
    Recipe,
    Source,
    Utterance,
    num_channels,
    recipe_from_document,
)
from schemas.transmission import Codec
from schemas.validation import InvalidDocumentError

NAME = "recipes"
read_texts = None

_MAX_DURATION_S = 86_400.0
_MAX_LEVEL_DB = 200.0
_MAX_SPEED = 10.0

# JSON Schema takes 1.0 for an integer, but no array has an element of that number.
_WHOLE_NUMBERS = (
    *("sample_rate", "channels", "start", "stop", "num_frames", "file_sample_rate"),
    *("row", "channel", "num_rows"),
)


def recognises(first_line: str) -> bool:
    """Returns whether the first line may be a JSON object."""
    return first_line.lstrip().startswith("{")


def read(path: str, context: RecipeContext) -> Iterator[GivenRecipe | Rejected]:
    """Yields each recipe of a file, and each line that is not a JSON object with the reason.

    Raises:
        UserError: a length is asked for, which each recipe has already.
    """
    if context.length:
        raise UserError(f"--length={context.length}: recipes have their own length")
    for number, line in enumerate(read_lines(path), 1):
        try:
            document = parse_object(line, finite=True)
        except BadLineError as error:
            if line.strip():
                yield Rejected(f"{path}:{number}", str(error))
        else:
            yield _JsonRecipe(path, number, document, context)


class _JsonRecipe:
    # No dataclass: a frozen one takes four times as long to make, which shows when counting.
    def __init__(
        self, path: str, line_number: int, document: Mapping[str, Any], context: RecipeContext
    ) -> None:
        self._path = path
        self._line_number = line_number
        self._document = document
        self._context = context

    @property
    def origin(self) -> str:
        return f"{self._path}:{self._line_number}"

    @property
    def split(self) -> str:
        return str(self._document.get("split"))

    @property
    def id(self) -> str:
        return str(self._document.get("id", ""))

    @property
    def num_sources(self) -> int:
        sources = self._document.get("sources")
        if not isinstance(sources, list):
            return 0
        # A source without a row has one of its own.
        return len(
            {
                str(source.get("row", f"of {number}") if isinstance(source, dict) else number)
                for number, source in enumerate(sources)
            }
        )

    @property
    def num_rows(self) -> int:
        stated = self._document.get("num_rows")
        return max(stated, self.num_sources) if isinstance(stated, int) else self.num_sources

    @property
    def has_noise(self) -> bool:
        return self._recipe.has_noise

    @property
    def has_rooms(self) -> bool:
        return self._recipe.has_rooms

    @property
    def has_transmission(self) -> bool:
        return self._recipe.transmission is not None

    @property
    def enrolment_s(self) -> float | None:
        return self._recipe.enrolment_s

    @property
    def mixture_given(self) -> bool:
        return self._recipe.mixture is not None

    @property
    def instruments(self) -> tuple[str, ...]:
        if not self.mixture_given:
            return ()
        return tuple(source.speaker for source in self._recipe.sources)

    def audio(self) -> tuple[int, Channels]:
        return self._recipe.sample_rate, self._recipe.channels

    def named_files(self) -> list[tuple[Corpus, Candidate]]:
        named = []
        for part in self._recipe.parts:
            corpus = _find_corpus(part.corpus, self._context)
            candidate = (
                Candidate(
                    part.path, part.utterance, part.speaker, part.gender, channel=part.channel
                )
                if isinstance(part, Source)
                else sound_candidate(corpus, part.path)
            )
            named.append((corpus, candidate))
        return named

    def complete(self, files: Sequence[Utterance]) -> Recipe:
        recipe, context = self._recipe, self._context
        if num_channels(recipe.channels) != num_channels(context.channels):
            raise BadRecipeError("stereo, where the first recipe is not, or the other way round")
        for part, file in zip(recipe.parts, files, strict=True):
            if part.file_sample_rate != file.sample_rate or part.stop > file.stop:
                raise BadRecipeError(
                    f"made for another {part.path}, of {part.stop} frames or more at"
                    f" {part.file_sample_rate} Hz"
                )
        rate = context.sample_rate or recipe.sample_rate
        return dataclasses.replace(recipe, sample_rate=rate, common_gain_db=0.0)

    @functools.cached_property
    def _recipe(self) -> Recipe:
        # Only on demand: the schema takes forty times as long as the JSON.
        check_id(self.id)
        try:
            recipe = recipe_from_document(self._document, "recipe")
        except (InvalidDocumentError, RecursionError) as error:
            raise BadRecipeError(str(error)) from None
        _check_ranges(recipe)
        codecs = {step.name for step in recipe.transmission or () if isinstance(step, Codec)}
        if missing := find_missing(codecs):
            raise BadRecipeError(f"transmission: {missing}")
        return recipe


def _check_ranges(recipe: Recipe) -> None:
    """Checks the numbers that the schema leaves open, but nobody means.

    Raises:
        BadRecipeError: a number would make silence, infinity, or more samples than fit in memory.
    """
    for one in (recipe, *recipe.parts):
        for name in _WHOLE_NUMBERS:
            if isinstance(value := getattr(one, name, None), float):
                raise BadRecipeError(f"{name} is not a whole number: {value}")
    noise = recipe.noise
    noise_s = noise.num_frames / noise.file_sample_rate if noise else 0.0
    for length_s in (recipe.duration_s, noise_s):
        if length_s > _MAX_DURATION_S:
            raise BadRecipeError(f"a mixture of {length_s:g} s")
    for part in recipe.parts:
        if isinstance(part, Source | Noise | NoiseEvent) and abs(part.level) > _MAX_LEVEL_DB:
            raise BadRecipeError(f"a {part.level_kind} of {part.level:g}")
    for event in recipe.noise_events or ():
        if event.stop <= event.start or event.offset_s >= recipe.duration_s:
            raise BadRecipeError(
                f"a noise event of {event.duration_s:g} s that starts at {event.offset_s:g} s of"
                f" {recipe.duration_s:g} s"
            )
    for source in (*recipe.sources, *(recipe.enrolments or ())):
        if source.stop > source.start and source.offset_s >= recipe.duration_s:
            raise BadRecipeError(
                f"a source that starts at {source.offset_s:g} s of {recipe.duration_s:g} s"
            )
        if source.speed is not None and not 1 / _MAX_SPEED <= source.speed <= _MAX_SPEED:
            raise BadRecipeError(f"a speed of {source.speed:g}")


def _find_corpus(name: str, context: RecipeContext) -> Corpus:
    corpora = dict(context.corpora)
    for sounds in (context.noise_corpus, context.rooms_corpus):
        if sounds is not None:
            corpora[sounds.name] = sounds
    if name not in corpora:
        raise BadRecipeError(
            f"of the corpus {name!r}, where there is {', '.join(corpora)}: name its folder with"
            " --corpus, or with --noise or --rooms"
        )
    return corpora[name]

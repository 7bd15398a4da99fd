"""The recipes that mixture jobs write: one of `schemas.recipe` a line."""

import dataclasses
import json
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import BadLineError, parse_object, read_lines
from beam_jobs.corpora.sounds import sound_candidate
from beam_jobs.recipes.recipe_format import BadRecipeError, RecipeContext, Row
from schemas.errors import UserError
from schemas.recipe import Channels, Recipe, Source, Utterance, num_channels, parse_recipe
from schemas.validation import InvalidDocumentError

NAME = "recipes"


def recognises(first_line: str) -> bool:
    """Whether the first line is a JSON object."""
    return first_line.lstrip().startswith("{")


def read_rows(path: str, context: RecipeContext) -> Iterator[tuple[int, Row | BadRecipeError]]:
    """Yields each line, as JSON that nobody has checked yet."""
    if context.length:
        raise UserError(f"--length={context.length}: recipes have their own length")
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            try:
                yield number, parse_object(line)
            except BadLineError as error:
                yield number, BadRecipeError(str(error))


def split(row: Row) -> str:
    """As the recipe says."""
    return str(row.get("split"))


def num_sources(row: Row) -> int:
    """As many rows as the recipe has."""
    sources = filter(lambda source: isinstance(source, dict), row.get("sources", ()))
    return len({str(source.get("row", number)) for number, source in enumerate(sources)})


def has_noise(row: Row, context: RecipeContext) -> bool:
    """As the recipe says."""
    del context
    return row.get("noise") is not None


def has_rooms(row: Row) -> bool:
    """As the recipe says."""
    return any("room" in source for source in row.get("sources", ()))


def is_mixture_given(row: Row) -> bool:
    """As the recipe says."""
    return "mixture" in row


def instruments(row: Row) -> tuple[str, ...]:
    """The names of the sources of a given mixture, which are no speakers."""
    return tuple(source["speaker"] for source in row["sources"]) if is_mixture_given(row) else ()


def audio(row: Row, context: RecipeContext) -> tuple[int, Channels]:
    """As the recipe says."""
    del context
    recipe = _parse(row)
    return recipe.sample_rate, recipe.channels


def candidates(row: Row, context: RecipeContext) -> list[tuple[Corpus, Candidate]]:
    """The files of the recipe's parts."""
    named = []
    for part in _parse(row).parts:
        corpus = _corpus(part.corpus, context)
        candidate = (
            Candidate(part.path, part.utterance, part.speaker, part.gender)
            if isinstance(part, Source)
            else sound_candidate(corpus, part.path)
        )
        named.append((corpus, candidate))
    return named


def recipe(row: Row, files: Sequence[Utterance], context: RecipeContext) -> Recipe:
    """The recipe itself, at the rate that is asked for."""
    given = _parse(row)
    if num_channels(given.channels) != num_channels(context.channels):
        raise BadRecipeError("stereo, where the first recipe is not, or the other way round")
    for part, file in zip(given.parts, files, strict=True):
        if part.file_sample_rate != file.sample_rate or part.stop > file.stop:
            raise BadRecipeError(
                f"made for another {part.path}, of {part.stop} frames or more at"
                f" {part.file_sample_rate} Hz"
            )
    rate = context.sample_rate or given.sample_rate
    return dataclasses.replace(given, sample_rate=rate, common_gain_db=0.0)


def _parse(row: Row) -> Recipe:
    try:
        return parse_recipe(json.dumps(row), "recipe")
    except InvalidDocumentError as error:
        raise BadRecipeError(str(error)) from None


def _corpus(name: str, context: RecipeContext) -> Corpus:
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

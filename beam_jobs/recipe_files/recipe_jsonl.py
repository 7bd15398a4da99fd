"""The recipes that mixture jobs write: one of `schemas.recipe` a line."""

import dataclasses
import json
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import BadLineError, parse_object, read_lines
from beam_jobs.recipe_files.format import BadRecipeError, RecipeContext, Row
from schemas.recipe import (
    Channels,
    GivenMixture,
    Noise,
    Recipe,
    Source,
    Utterance,
    num_channels,
    parse_recipe,
)
from schemas.validation import InvalidDocumentError

NAME = "recipes"


def recognises(first_line: str) -> bool:
    """Whether the first line is a JSON object."""
    return first_line.lstrip().startswith("{")


def read_rows(path: str, context: RecipeContext) -> Iterator[tuple[int, Row | BadRecipeError]]:
    """Yields each line, as JSON that nobody has checked yet."""
    if context.length:
        raise ValueError(f"--length={context.length}: recipes have their own length")
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
    """The files of the sources, of the noise and of the given mixture."""
    recipe = _parse(row)
    named = []
    for source in recipe.sources:
        candidate = Candidate(source.path, source.utterance, source.speaker, source.gender)
        named.append((_corpus(source.corpus, context), candidate))
    if recipe.noise is not None:
        noise_id = f"{recipe.noise.corpus}/{recipe.noise.path}"
        candidate = Candidate(recipe.noise.path, noise_id, "noise")
        named.append((_corpus(recipe.noise.corpus, context), candidate))
    if recipe.mixture is not None:
        mixture_id = f"{recipe.mixture.corpus}/{recipe.mixture.path}"
        candidate = Candidate(recipe.mixture.path, mixture_id, "mixture")
        named.append((_corpus(recipe.mixture.corpus, context), candidate))
    return named


def recipe(row: Row, files: Sequence[Utterance], context: RecipeContext) -> Recipe:
    """The recipe itself, at the rate that is asked for."""
    given = _parse(row)
    if num_channels(given.channels) != num_channels(context.channels):
        raise BadRecipeError("stereo, where the first recipe is not, or the other way round")
    rest: list[Noise | GivenMixture] = [one for one in (given.noise, given.mixture) if one]
    parts: list[Source | Noise | GivenMixture] = [*given.sources, *rest]
    for part, file in zip(parts, files, strict=True):
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
    if context.noise_corpus is not None:
        corpora[context.noise_corpus.name] = context.noise_corpus
    if name not in corpora:
        raise BadRecipeError(
            f"of the corpus {name!r}, where there is {', '.join(corpora)}: name its folder with"
            " --corpus, or with --noise"
        )
    return corpora[name]

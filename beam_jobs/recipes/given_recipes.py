"""Recipes that the user gives in files: their formats, their number, and the files that they need.

The recipes stay in their files. A job counts them once, and each worker reads those of its shard.
"""

import array
import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from beam_jobs.corpora.layout import Candidate, Corpus, Found, match_files
from beam_jobs.corpora.manifest import read_lines
from beam_jobs.recipes import librimix_csv, recipe_jsonl, spleeter_csv
from beam_jobs.recipes.recipe_format import (
    BadRecipeError,
    GivenRecipe,
    RecipeContext,
    RecipeFormat,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.dataset import SPLITS
from schemas.errors import UserError
from schemas.recipe import MAX_ROWS, Channels
from schemas.recipe_config import RecipeConfig, Uniform

# So many are no slip, and each worker gets them all.
_MAX_DUPLICATES = 10_000

FORMATS: tuple[RecipeFormat, ...] = (recipe_jsonl, librimix_csv, spleeter_csv)


@dataclasses.dataclass(frozen=True, slots=True)
class RecipeFile:
    """One file of recipes.

    Attributes:
        path: of the file.
        counts: the number of its recipes, by split.
        crc32c: its checksum.
    """

    path: str
    counts: Mapping[str, int]
    crc32c: str


@dataclasses.dataclass(frozen=True, slots=True)
class GivenRecipes:
    """All recipes that a user gives, which are alike in what a dataset has once.

    Attributes:
        files: in order.
        format_name: the format of all files.
        source_numbers: the numbers of sources that mixtures have, or may have, ascending.
        has_noise: whether each mixture has noise; if not, none has.
        has_rooms: whether each mixture is in a room; if not, none is.
        has_transmission: whether each mixture goes through a channel; if not, none does.
        enrolment_s: the length of the enrolment of each speaker, in seconds; None without any.
        mixture_given: whether each mixture is a recording; if not, each is the sum of its parts.
        instruments: the names of the sources, if each mixture has the same.
        context: what the files leave open, with the rate and the channels of the mixtures.
        duplicates: why a recipe can't be used whose id another one has, by its origin and its id.
        skip_missing: whether to leave out the mixtures that can't be made.
    """

    files: tuple[RecipeFile, ...]
    format_name: str
    source_numbers: tuple[int, ...]
    has_noise: bool
    has_rooms: bool
    has_transmission: bool
    enrolment_s: float | None
    mixture_given: bool
    instruments: tuple[str, ...]
    context: RecipeContext
    duplicates: Mapping[tuple[str, str], str]
    skip_missing: bool

    @property
    def config(self) -> RecipeConfig:
        """The configuration as far as recipes that are not drawn have one."""
        numbers = self.source_numbers
        return RecipeConfig(
            description=self._description,
            num_speakers=numbers[0] if len(numbers) == 1 else numbers,
            offset_s=Uniform(0.0, 0.0),
            level_kind="gain_db",
            level=Uniform(0.0, 0.0),
            length=self.context.length or "min",
            sample_rate=self.context.sample_rate,
            channels=self.context.channels,
        )

    @property
    def format(self) -> RecipeFormat:
        """The format of all files."""
        # By name: it is a module, which a runner can't pickle.
        return next(one for one in FORMATS if self.format_name == one.NAME)

    @property
    def _description(self) -> str:
        if self.mixture_given:
            return f"Given mixtures: {self.format_name}, of {', '.join(self.instruments)}."
        return (
            f"Given recipes: {self.format_name}, {'with' if self.has_noise else 'without'} noise."
        )

    def read(self, file: RecipeFile) -> Iterator[GivenRecipe | Rejected]:
        """Yields each recipe of a file, and each line that can't be used, with the reason."""
        for recipe in self.format.read(file.path, self.context):
            if self.duplicates and not isinstance(recipe, Rejected):
                reason = self.duplicates.get((recipe.origin, recipe.id))
                yield Rejected(recipe.origin, reason) if reason else recipe
            else:
                yield recipe

    def read_range(self, split: str, start: int, stop: int) -> Iterator[GivenRecipe]:
        """Yields the recipes of a split from number `start` to `stop`, and opens no other files."""
        position = 0
        for file in self.files:
            count = file.counts.get(split, 0)
            low, high = max(start - position, 0), min(stop - position, count)
            if low < high:
                of_split = (
                    one
                    for one in self.read(file)
                    if not isinstance(one, Rejected) and one.split == split
                )
                yield from itertools.islice(of_split, low, high)
            position += count

    def named_files(self, recipe: GivenRecipe) -> list[tuple[Corpus, Candidate]]:
        """Returns the audio files that a recipe names, in the order of `Recipe.parts`.

        Raises:
            BadRecipeError: the recipe can't be used, or not in a dataset with the first one.
        """
        named = recipe.named_files()
        if recipe.num_sources > MAX_ROWS:
            raise BadRecipeError(f"{recipe.num_sources} sources where {MAX_ROWS} are the most")
        if recipe.mixture_given != self.mixture_given:
            raise BadRecipeError(
                "a given mixture, where the first recipe has none, or the other way"
            )
        if recipe.instruments != self.instruments:
            raise BadRecipeError(
                f"{', '.join(recipe.instruments)} where the first recipe has"
                f" {', '.join(self.instruments)}"
            )
        if recipe.has_noise != self.has_noise:
            raise BadRecipeError("noise, where the first recipe has none, or the other way round")
        if recipe.has_transmission != self.has_transmission:
            raise BadRecipeError(
                "transmission, where the first recipe has none, or the other way round"
            )
        if recipe.enrolment_s != self.enrolment_s:
            raise BadRecipeError(
                f"enrolments of {recipe.enrolment_s or 0:g} s, where those of the first recipe have"
                f" {self.enrolment_s or 0:g} s"
            )
        if recipe.split not in SPLITS:
            raise BadRecipeError(f"no split of that name: {recipe.split!r}")
        return named


def find_given_recipes(
    patterns: Sequence[str], context: RecipeContext, *, skip_missing: bool
) -> GivenRecipes:
    """Counts the recipes in files, and takes from the first what all must have in common.

    Args:
        patterns: paths of files, or glob patterns.
        context: what the files leave open.
        skip_missing: whether to leave out the mixtures that can't be made.

    Raises:
        UserError: there are no such files, they are not recipes, or no recipe can be used.
    """
    # A file that two patterns match is one file.
    paths = list(
        {files.real_path(path): path for pattern in patterns for path in _match(pattern)}.values()
    )
    chosen = _choose_format(paths)
    counts_by_path: dict[str, Counter[str]] = {}
    ids = _Ids()
    numbers = set[int]()
    usable: GivenRecipe | None = None
    audio: tuple[int, Channels] = (0, "average")
    problem = "no recipe in it"
    for path in paths:
        counts = counts_by_path[path] = Counter()
        for recipe in chosen.read(path, context):
            if isinstance(recipe, Rejected):
                continue
            counts[recipe.split] += 1
            ids.add(recipe.id)
            numbers |= {recipe.num_sources, recipe.num_rows}
            if usable is None:
                try:
                    audio, usable = recipe.audio(), recipe
                except BadRecipeError as error:
                    problem = f"no recipe in it that can be used: {error}"
    if usable is None:
        raise UserError(f"--recipes={patterns[0]}: {problem}")
    duplicates = {}
    for path, recipe, first in ids.find_repeated(paths, chosen, context):
        duplicates[recipe.origin, recipe.id] = f"duplicate mixture id {recipe.id!r}: {first} has it"
        counts_by_path[path][recipe.split] -= 1
        if len(duplicates) > _MAX_DUPLICATES:
            raise UserError(
                f"--recipes: {recipe.origin}: duplicate mixture id {recipe.id!r}: {first} has it,"
                f" and more than {_MAX_DUPLICATES:,} more: leave out one of the files"
            )
    return GivenRecipes(
        files=tuple(
            RecipeFile(path, dict(counts), files.checksum(path)[1])
            for path, counts in counts_by_path.items()
        ),
        format_name=chosen.NAME,
        source_numbers=tuple(sorted(numbers.intersection(range(1, MAX_ROWS + 1)))),
        has_noise=usable.has_noise,
        has_rooms=usable.has_rooms,
        has_transmission=usable.has_transmission,
        enrolment_s=usable.enrolment_s,
        mixture_given=usable.mixture_given,
        instruments=usable.instruments,
        context=dataclasses.replace(
            context, sample_rate=context.sample_rate or audio[0], channels=audio[1]
        ),
        duplicates=duplicates,
        skip_missing=skip_missing,
    )


class _Ids:
    """The ids of all recipes, as hashes: millions of ids take too much memory themselves."""

    def __init__(self) -> None:
        self._hashes = array.array("q")

    def add(self, mixture_id: str) -> None:
        """Adds the id of another recipe."""
        if mixture_id:
            self._hashes.append(hash(mixture_id))

    def find_repeated(
        self, paths: Sequence[str], chosen: RecipeFormat, context: RecipeContext
    ) -> Iterator[tuple[str, GivenRecipe, str]]:
        """Yields each recipe with an earlier one's id: its path, itself, and where that one is."""
        hashes, counts = np.unique(np.array(self._hashes), return_counts=True)
        repeated = set(hashes[counts > 1].tolist())
        first: dict[str, str] = {}
        for path in paths if repeated else ():
            for recipe in chosen.read(path, context):
                if isinstance(recipe, Rejected) or hash(recipe.id) not in repeated:
                    continue
                if recipe.id in first:
                    yield path, recipe, first[recipe.id]
                else:
                    first[recipe.id] = recipe.origin


def _match(pattern: str) -> list[str]:
    paths = match_files(pattern)
    if not paths:
        raise UserError(f"--recipes={pattern}: no such file")
    if folder := next(filter(os.path.isdir, paths), ""):
        raise UserError(f"--recipes={folder}: a folder: name the files in it, such as {folder}/*")
    return paths


def _choose_format(paths: Sequence[str]) -> RecipeFormat:
    chosen: dict[str, RecipeFormat] = {}
    for path in paths:
        line = next(read_lines(path), "")
        known = [one for one in FORMATS if one.recognises(line)]
        if not known:
            names = " and ".join(one.NAME for one in FORMATS)
            raise UserError(f"--recipes={path}: not recipes: there are {names}")
        chosen[known[0].NAME] = known[0]
    if len(chosen) > 1:
        raise UserError(f"--recipes: {' and '.join(chosen)} do not go together")
    (only,) = chosen.values()
    return only


def find_named_files(recipe_file: RecipeFile, given: GivenRecipes) -> Iterator[Found]:
    """Yields the audio files that the recipes in a file name, each once, and each bad line."""
    origins: dict[tuple[Corpus, Candidate], str] = {}
    # A line that can't be used names no corpus: any will do.
    corpus = next(iter(given.context.corpora.values()))
    for recipe in given.read(recipe_file):
        if isinstance(recipe, Rejected):
            yield corpus, recipe
            continue
        try:
            named = given.named_files(recipe)
        except BadRecipeError as error:
            yield corpus, Rejected(recipe.origin, str(error))
            continue
        for found in named:
            origins.setdefault(found, recipe.origin)
    texts: dict[Corpus, Mapping[str, str]] = {}
    if read_texts := given.format.read_texts:
        paths: dict[Corpus, list[str]] = {}
        for corpus_of_file, candidate in origins:
            paths.setdefault(corpus_of_file, []).append(candidate.path)
        texts = {one: read_texts(one, of_corpus) for one, of_corpus in paths.items()}
    for (corpus_of_file, candidate), origin in origins.items():
        text = texts.get(corpus_of_file, {}).get(candidate.utterance)
        yield corpus_of_file, dataclasses.replace(candidate, origin=origin, text=text)

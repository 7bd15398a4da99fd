"""Recipes that the user gives in files: their formats, their number, and the files that they need.

The recipes stay in their files. A job counts them once, and each worker reads those of its shard.
"""

import dataclasses
import glob
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, Found
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
from schemas.recipe import Channels
from schemas.recipe_config import RecipeConfig, Uniform

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
        num_sources: in each mixture.
        has_noise: whether each mixture has noise; if not, none has.
        has_rooms: whether each mixture is in a room; if not, none is.
        mixture_given: whether each mixture is a recording; if not, each is the sum of its parts.
        instruments: the names of the sources, if each mixture has the same.
        context: what the files leave open, with the rate and the channels of the mixtures.
        skip_missing: whether to leave out the mixtures that can't be made.
    """

    files: tuple[RecipeFile, ...]
    format_name: str
    num_sources: int
    has_noise: bool
    has_rooms: bool
    mixture_given: bool
    instruments: tuple[str, ...]
    context: RecipeContext
    skip_missing: bool

    @property
    def config(self) -> RecipeConfig:
        """The configuration as far as recipes that are not drawn have one."""
        return RecipeConfig(
            description=self._description,
            num_speakers=self.num_sources,
            offset_s=Uniform(0.0, 0.0),
            level_kind="gain_db",
            level=Uniform(0.0, 0.0),
            length=self.context.length or "min",
            sample_rate=self.context.sample_rate,
            channels=self.context.channels,
        )

    @property
    def _description(self) -> str:
        if self.mixture_given:
            return f"Given mixtures: {self.format_name}, of {', '.join(self.instruments)}."
        return (
            f"Given recipes: {self.format_name}, {'with' if self.has_noise else 'without'} noise."
        )

    def read(self, file: RecipeFile) -> Iterator[GivenRecipe | Rejected]:
        """Yields each recipe of a file, and each line that can't be used, with the reason."""
        # By name: the format is a module, which a runner can't pickle.
        chosen = next(one for one in FORMATS if self.format_name == one.NAME)
        return chosen.read(file.path, self.context)

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
        if recipe.num_sources != self.num_sources:
            raise BadRecipeError(
                f"{recipe.num_sources} sources where the first recipe has"
                f" {self.num_sources}: a dataset has as many in each mixture"
            )
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
    paths = [path for pattern in patterns for path in _match(pattern)]
    chosen = _choose_format(paths)
    found = []
    usable: GivenRecipe | None = None
    audio: tuple[int, Channels] = (0, "average")
    problem = "no recipe in it"
    for path in paths:
        counts: Counter[str] = Counter()
        for recipe in chosen.read(path, context):
            if isinstance(recipe, Rejected):
                continue
            counts[recipe.split] += 1
            if usable is None:
                try:
                    audio, usable = recipe.audio(), recipe
                except BadRecipeError as error:
                    problem = f"no recipe in it that can be used: {error}"
        found.append(RecipeFile(path, dict(counts), files.checksum(path)[1]))
    if usable is None:
        raise UserError(f"--recipes={patterns[0]}: {problem}")
    return GivenRecipes(
        files=tuple(found),
        format_name=chosen.NAME,
        num_sources=usable.num_sources,
        has_noise=usable.has_noise,
        has_rooms=usable.has_rooms,
        mixture_given=usable.mixture_given,
        instruments=usable.instruments,
        context=dataclasses.replace(
            context, sample_rate=context.sample_rate or audio[0], channels=audio[1]
        ),
        skip_missing=skip_missing,
    )


def _match(pattern: str) -> list[str]:
    if not files.is_remote(pattern) and not glob.has_magic(pattern):
        paths = [pattern] if files.exists(pattern) else []
    else:
        folder, _, name = pattern.rpartition("/")
        paths = files.list_paths(folder or ".", name)
    if not paths:
        raise UserError(f"--recipes={pattern}: no such file")
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
    seen = set()
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
        for corpus_of_file, candidate in named:
            if candidate.utterance not in seen:
                seen.add(candidate.utterance)
                yield corpus_of_file, dataclasses.replace(candidate, origin=recipe.origin)

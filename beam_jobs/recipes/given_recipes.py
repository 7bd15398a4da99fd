"""The plan of a dataset whose recipes are given, and the files that they need.

It stands where `planning.Plan` stands: shards, the mixtures in them, and the recipe of each. The
recipes stay in their files, and a worker reads those that its shard has a part of.
"""

import dataclasses
import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import read_lines
from beam_jobs.recipes.recipe_format import BadRecipeError, RecipeContext, RecipeFormat, Row
from beam_jobs.recipes.recipe_formats import FORMATS
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.dataset import SPLITS
from schemas.errors import UserError
from schemas.recipe import Channels
from schemas.recipe_config import RecipeConfig, Uniform

_NUM_NAMED = 20


@dataclasses.dataclass(frozen=True, slots=True)
class RecipeFile:
    """One file of recipes.

    Attributes:
        path: of the file.
        counts: its recipes, by split.
        crc32c: its checksum.
    """

    path: str
    counts: Mapping[str, int]
    crc32c: str


@dataclasses.dataclass(frozen=True, slots=True)
class GivenRecipes:
    """What is given.

    Attributes:
        files: in order.
        format_name: of all of them.
        num_sources: in each mixture.
        has_noise: whether each mixture has noise, or none has.
        has_rooms: whether each mixture is in a room, or none is.
        mixture_given: whether each mixture is a recording, or each the sum of its parts.
        instruments: the names of the sources, where they are the same in all mixtures.
        context: what the files leave open, with the rate and the channels that the mixtures have.
        skip_missing: whether to go without the mixtures that can't be made.
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
    def format(self) -> RecipeFormat:
        """The format of all files."""
        return next(one for one in FORMATS if self.format_name == one.NAME)

    @property
    def config(self) -> RecipeConfig:
        """What of a configuration there is where recipes are not drawn."""
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


def find_given_recipes(
    patterns: Sequence[str], context: RecipeContext, *, skip_missing: bool
) -> GivenRecipes:
    """Counts the recipes in files, and sees what they have in common.

    Args:
        patterns: paths of files, or glob patterns.
        context: what the files leave open.
        skip_missing: whether to go without the mixtures that can't be made.

    Raises:
        UserError: no such files, files that are no recipes, or no recipe in them.
    """
    paths = [path for pattern in patterns for path in _match(pattern)]
    chosen = _choose_format(paths)
    found = []
    usable: Row | None = None
    audio: tuple[int, Channels] = (0, "average")
    problem = "no recipe in it"
    for path in paths:
        counts: Counter[str] = Counter()
        for _, row in chosen.read_rows(path, context):
            if isinstance(row, BadRecipeError):
                continue
            counts[chosen.split(row)] += 1
            if usable is None:
                try:
                    audio, usable = chosen.audio(row, context), row
                except ValueError as error:
                    problem = f"no recipe in it that can be used: {error}"
        found.append(RecipeFile(path, dict(counts), files.checksum(path)[1]))
    if usable is None:
        raise UserError(f"--recipes={patterns[0]}: {problem}")
    context = dataclasses.replace(
        context, sample_rate=context.sample_rate or audio[0], channels=audio[1]
    )
    return GivenRecipes(
        files=tuple(found),
        format_name=chosen.NAME,
        num_sources=chosen.num_sources(usable),
        has_noise=chosen.has_noise(usable, context),
        has_rooms=chosen.has_rooms(usable),
        mixture_given=chosen.is_mixture_given(usable),
        instruments=chosen.instruments(usable),
        context=context,
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


def find_named_files(
    recipe_file: RecipeFile, given: GivenRecipes
) -> Iterator[tuple[Corpus, Candidate | Rejected]]:
    """Yields the files that the recipes of a file name, once each, and the lines that name none."""
    seen = set()
    corpus = next(iter(given.context.corpora.values()))
    for number, row in given.format.read_rows(recipe_file.path, given.context):
        origin = f"{recipe_file.path}:{number}"
        try:
            candidates = _candidates(row, given)
        except BadRecipeError as error:
            yield corpus, Rejected(origin, str(error))
            continue
        for named in candidates:
            if named[1].utterance not in seen:
                seen.add(named[1].utterance)
                yield named[0], dataclasses.replace(named[1], origin=origin)


def _candidates(row: Row | BadRecipeError, given: GivenRecipes) -> list[tuple[Corpus, Candidate]]:
    if isinstance(row, BadRecipeError):
        raise row
    candidates = given.format.candidates(row, given.context)
    if given.format.num_sources(row) != given.num_sources:
        raise BadRecipeError(
            f"{given.format.num_sources(row)} sources where the first recipe has"
            f" {given.num_sources}: a dataset has as many in each mixture"
        )
    if given.format.is_mixture_given(row) != given.mixture_given:
        raise BadRecipeError("a given mixture, where the first recipe has none, or the other way")
    if given.format.instruments(row) != given.instruments:
        raise BadRecipeError(
            f"{', '.join(given.format.instruments(row))} where the first recipe has"
            f" {', '.join(given.instruments)}"
        )
    if given.format.has_noise(row, given.context) != given.has_noise:
        raise BadRecipeError("noise, where the first recipe has none, or the other way round")
    if given.format.split(row) not in SPLITS:
        raise BadRecipeError(f"no split of that name: {given.format.split(row)!r}")
    return candidates

"""The plan of a dataset whose recipes are given, and the files that they need.

It stands where `planning.Plan` stands: shards, the mixtures in them, and the recipe of each. The
recipes stay in their files, and a worker reads those that its shard has a part of.
"""

import dataclasses
import glob
import itertools
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence

import numpy as np

from beam_jobs import files
from beam_jobs.catalogue import Catalogue
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import read_lines
from beam_jobs.planning import (
    Draft,
    NothingToDoError,
    NoUtteranceLeftError,
    choose_num_shards,
    shard_range,
)
from beam_jobs.recipe_files import FORMATS
from beam_jobs.recipe_files.format import BadRecipeError, RecipeContext, RecipeFormat, Row
from beam_jobs.rejected import Rejected
from schemas.dataset import SPLITS, Shard, Split
from schemas.recipe import Channels, Recipe
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
        ValueError: no such files, files that are no recipes, or no recipe in them.
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
        raise ValueError(f"--recipes={patterns[0]}: {problem}")
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
        raise ValueError(f"--recipes={pattern}: no such file")
    return paths


def _choose_format(paths: Sequence[str]) -> RecipeFormat:
    chosen: dict[str, RecipeFormat] = {}
    for path in paths:
        line = next(read_lines(path), "")
        known = [one for one in FORMATS if one.recognises(line)]
        if not known:
            names = " and ".join(one.NAME for one in FORMATS)
            raise ValueError(f"--recipes={path}: not recipes: there are {names}")
        chosen[known[0].NAME] = known[0]
    if len(chosen) > 1:
        raise ValueError(f"--recipes: {' and '.join(chosen)} do not go together")
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


class GivenPlan:
    """The recipes of a dataset, shard by shard."""

    def __init__(
        self, catalogue: Catalogue, given: GivenRecipes, rejected: Sequence[Rejected], asked: int
    ) -> None:
        """Makes the plan.

        Args:
            catalogue: the files that the recipes name.
            given: the recipes.
            rejected: what the corpora lack, and the lines that are no recipes.
            asked: how many shards each split shall have; 0 to choose.

        Raises:
            NothingToDoError: something is lacking, and the rest alone was not asked for.
        """
        if rejected and not given.skip_missing:
            listed = "; ".join(f"{one.path}: {one.reason}" for one in rejected[:_NUM_NAMED])
            more = f" and {len(rejected) - _NUM_NAMED} more" if rejected[_NUM_NAMED:] else ""
            raise NothingToDoError(
                f"{len(rejected)} things that the recipes need are not there ({listed}{more}; all"
                " are in rejected.jsonl): mend that, or render the rest with --skip_missing_recipes"
            )
        self._catalogue = catalogue
        self._given = given
        self._rows = catalogue.rows_by_id()
        counts = {split: sum(file.counts.get(split, 0) for file in given.files) for split in SPLITS}
        self.counts = {split: count for split, count in counts.items() if count}
        """The number of mixtures of each split that has any."""
        self._num_shards = {
            split: choose_num_shards(count, asked) for split, count in self.counts.items()
        }

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards of all splits."""
        return tuple(
            Shard(split, index, count)
            for split, count in self._num_shards.items()
            for index in range(count)
        )

    def left_out(self) -> dict[Split, int]:
        """Nothing: whoever gives recipes says what splits there are."""
        return {}

    def drafts(self, shard: Shard) -> Iterator[Draft]:
        """Yields the mixtures of a shard whose files are all there, in order."""
        start, stop = shard_range(shard, self.counts[shard.split])  # type: ignore[index]
        for row in self._rows_between(shard.split, start, stop):
            try:
                candidates = _candidates(row, self._given)
                rows = [self._rows[candidate.utterance] for _, candidate in candidates]
                named = self._catalogue.utterances(np.array(rows))
                recipe = self._given.format.recipe(row, named, self._given.context)
            except (BadRecipeError, KeyError) as error:
                self._check_skipped(str(error))
                continue
            yield Draft(recipe.id, recipe.split, tuple(rows), tuple(named), recipe)

    def recipe(self, draft: Draft) -> Recipe:
        """The recipe of a mixture."""
        assert draft.recipe is not None
        return draft.recipe

    def redraft(self, draft: Draft, unusable: Container[int]) -> Draft:
        """Never: what is given has nothing in its place.

        Raises:
            NoUtteranceLeftError: the mixture is gone without.
            NothingToDoError: that was not asked for.
        """
        paths = [
            utterance.path
            for row, utterance in zip(draft.rows, draft.utterances, strict=True)
            if row in unusable
        ]
        self._check_skipped(f"{draft.id}: can't be decoded: {', '.join(paths)}")
        raise NoUtteranceLeftError(draft.id)

    def _check_skipped(self, reason: str) -> None:
        if not self._given.skip_missing:
            raise NothingToDoError(
                f"{reason}: mend that, or render the rest with --skip_missing_recipes"
            )

    def _rows_between(self, split: str, start: int, stop: int) -> Iterator[Row]:
        """The rows of a split from number `start` to `stop`, without reading other files."""
        position = 0
        for file in self._given.files:
            count = file.counts.get(split, 0)
            low, high = max(start - position, 0), min(stop - position, count)
            if low < high:
                read_rows = self._given.format.read_rows
                rows = (row for _, row in read_rows(file.path, self._given.context))
                of_split = (
                    row
                    for row in rows
                    if not isinstance(row, BadRecipeError)
                    and self._given.format.split(row) == split
                )
                yield from itertools.islice(of_split, low, high)
            position += count

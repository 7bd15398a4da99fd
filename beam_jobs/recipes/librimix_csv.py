"""LibriMix's metadata: `mixture_ID,source_1_path,source_1_gain,...,noise_path,noise_gain`.

The mixtures equal those that LibriMix's own script writes to one step of 16-bit PCM: the files are
scaled, resampled by SciPy's `resample_poly` and cut to the shortest, or padded to the longest.

Source: https://github.com/JorisCos/LibriMix (Cosentino et al., 2020), metadata/ and scripts/.
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from beam_jobs.corpora import librispeech
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.librispeech import corpus_split, read_genders
from beam_jobs.corpora.manifest import shown
from beam_jobs.corpora.sounds import sound_candidate
from beam_jobs.recipes.csv_tables import column_names, read_table
from beam_jobs.recipes.recipe_format import (
    BadRecipeError,
    GivenRecipe,
    RecipeContext,
    check_id,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage.text import parse_number
from schemas.errors import UserError
from schemas.recipe import Channels, Noise, Recipe, Utterance

NAME = "LibriMix's metadata"

# Each of its sources is an utterance of LibriSpeech.
read_texts = librispeech.read_texts

_SAMPLE_RATE = 16_000

# Beyond 16 bits: at full scale, such a gain makes silence, or nothing but clipping.
_MAX_GAIN_DB = 96.0


def recognises(first_line: str) -> bool:
    """Returns whether the first line is the header of LibriMix's metadata."""
    return {"mixture_ID", "source_1_path", "source_1_gain"} <= set(column_names(first_line))


def read(path: str, context: RecipeContext) -> Iterator[GivenRecipe | Rejected]:
    """Yields each recipe of a file, and each line with too few or too many fields.

    Raises:
        UserError: the length is a number of seconds, or the header lacks a column.
    """
    if not isinstance(context.length, str):
        raise UserError(f"--length={context.length:g}: LibriMix has min and max")
    columns, lines = read_table(path)
    num_sources = sum(bool(re.fullmatch(r"source_\d+_path", name)) for name in columns)
    needed = ["mixture_ID"]
    for number in range(1, num_sources + 1):
        needed += [f"source_{number}_path", f"source_{number}_gain"]
    if context.noise_corpus is not None:
        needed += ["noise_path", "noise_gain"]
    if missing := [name for name in needed if name not in columns]:
        remedy = ": leave --noise out" if "noise_path" in missing else ""
        raise UserError(f"{path}: {NAME} without {' and '.join(missing)} in its header{remedy}")
    table = _Table(
        path=path,
        columns={name: index for index, name in enumerate(columns)},
        num_sources=num_sources,
        context=context,
    )
    for line in lines:
        yield line if isinstance(line, Rejected) else _LibriMixRecipe(table, *line)


@dataclasses.dataclass(frozen=True, slots=True)
class _Table:
    """Everything that the recipes of a file share."""

    path: str
    columns: Mapping[str, int]
    num_sources: int
    context: RecipeContext


@dataclasses.dataclass(frozen=True, slots=True)
class _LibriMixRecipe:
    table: _Table
    line_number: int
    fields: Sequence[str]

    has_rooms: ClassVar[bool] = False
    has_transmission: ClassVar[bool] = False
    enrolment_s: ClassVar[float | None] = None
    mixture_given: ClassVar[bool] = False
    instruments: ClassVar[tuple[str, ...]] = ()

    @property
    def origin(self) -> str:
        return f"{self.table.path}:{self.line_number}"

    @property
    def split(self) -> str:
        return corpus_split(self._field("source_1_path")) or "train"

    @property
    def id(self) -> str:
        return self._field("mixture_ID")

    @property
    def num_sources(self) -> int:
        return self.table.num_sources

    @property
    def num_rows(self) -> int:
        return self.num_sources

    @property
    def has_noise(self) -> bool:
        return self.table.context.noise_corpus is not None

    def audio(self) -> tuple[int, Channels]:
        # Speech has one channel; noise has two, of which LibriMix takes the first.
        return _SAMPLE_RATE, 0

    def named_files(self) -> list[tuple[Corpus, Candidate]]:
        context = self.table.context
        if len(context.corpora) != 1:
            raise BadRecipeError("of one corpus: name LibriSpeech's folder, alone, with --corpus")
        (corpus,) = context.corpora.values()
        check_id(self.id)
        named = []
        for number in range(1, self.num_sources + 1):
            _decibels(self._field(f"source_{number}_gain"))
            path = self._field(f"source_{number}_path")
            if not path:
                raise BadRecipeError(f"no 'source_{number}_path'")
            utterance = os.path.splitext(os.path.basename(path))[0]
            speaker = utterance.partition("-")[0]
            candidate = Candidate(path, utterance, speaker, _genders(corpus).get(speaker, ""))
            named.append((corpus, candidate))
        if context.noise_corpus is not None:
            _decibels(self._field("noise_gain"))
            path = self._field("noise_path")
            if not path:
                raise BadRecipeError("no 'noise_path': leave --noise out")
            named.append((context.noise_corpus, sound_candidate(context.noise_corpus, path)))
        return named

    def complete(self, files: Sequence[Utterance]) -> Recipe:
        context = self.table.context
        utterances, noises = files[: self.num_sources], files[self.num_sources :]
        rate = context.sample_rate or _SAMPLE_RATE
        fit = max if context.length == "max" else min
        # resample_poly rounds the length up, where soxr rounds to the nearest.
        num_samples = fit(-(-file.stop * rate // file.sample_rate) for file in utterances)
        return Recipe(
            id=self.id,
            split=self.split,
            sample_rate=rate,
            duration_s=num_samples / rate,
            channels=0,
            sources=tuple(
                # The whole file: a cut before resampling changes the last samples.
                file.place(
                    0,
                    file.stop,
                    offset_s=0.0,
                    level_kind="gain_db",
                    level=_decibels(self._field(f"source_{number}_gain")),
                )
                for number, file in enumerate(utterances, 1)
            ),
            noise=self._noise(noises[0], utterances) if noises else None,
            resampler="resample_poly",
        )

    def _noise(self, file: Utterance, utterances: Sequence[Utterance]) -> Noise:
        num_frames = max(utterance.stop for utterance in utterances)
        return Noise(
            corpus=file.corpus,
            path=file.path,
            start=0,
            stop=min(file.stop, num_frames),
            num_frames=num_frames,
            file_sample_rate=file.sample_rate,
            level_kind="gain_db",
            level=_decibels(self._field("noise_gain")),
        )

    def _field(self, column: str) -> str:
        return self.fields[self.table.columns[column]]


@functools.lru_cache(maxsize=1)
def _genders(corpus: Corpus) -> Mapping[str, str]:
    return read_genders(corpus)


def _decibels(gain: str) -> float:
    factor = parse_number(gain)
    if factor is None or factor <= 0:
        raise BadRecipeError(f"a gain that is not a positive number: {shown(gain)}")
    gain_db = 20 * math.log10(factor)
    if abs(gain_db) > _MAX_GAIN_DB:
        raise BadRecipeError(f"a gain of {gain_db:.0f} dB: {shown(gain)}")
    return gain_db

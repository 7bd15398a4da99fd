"""Spleeter's training CSVs: `mix_path,<instrument>_path,...,duration`.

The mixture is the file of `mix_path`, whether it is the sum of its instruments or not. With a
length, each song is cut into pieces of about that length, and each piece is a mixture; Spleeter
itself trains on pieces of 20 seconds.

Source: https://github.com/deezer/spleeter/wiki/5.-Training-with-your-own-data (Hennequin et al.).
"""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from beam_jobs.audio.decoding import read_header
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import BadLineError, corpus_path, duration_field
from beam_jobs.recipes.csv_tables import column_names, read_table
from beam_jobs.recipes.recipe_format import BadRecipeError, GivenRecipe, RecipeContext
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage.files import join
from schemas.errors import UserError
from schemas.recipe import MAX_ROWS, Channels, GivenMixture, Recipe, Source, Utterance

NAME = "Spleeter's training CSV"

read_texts = None

_SUFFIX = "_path"
_MIX = "mix"
_MIX_COLUMN = _MIX + _SUFFIX
# Exports of datasets with transmission have it, and it is no instrument.
_DEGRADED_COLUMN = "degraded" + _SUFFIX
# No song is as long as that: it would be cut into more pieces than anybody wants.
_MAX_DURATION_S = 360_000.0

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def recognises(first_line: str) -> bool:
    """Returns whether the first line is the header of Spleeter's CSVs, or nearly so."""
    columns = set(column_names(first_line))
    return _MIX_COLUMN in columns or (
        "duration" in columns and any(name.endswith(_SUFFIX) for name in columns)
    )


def read(path: str, context: RecipeContext) -> Iterator[GivenRecipe | Rejected]:
    """Yields a recipe for each piece of each song, and each line that can't be used.

    Raises:
        UserError: the length is not a number of seconds, or the header lacks a column or has too
            many.
    """
    if context.length in ("min", "max"):
        raise UserError(f"--length={context.length}: {NAME} is cut into pieces of SECONDS, or not")
    columns, lines = read_table(path)
    instruments = _find_instruments(path, columns)
    split = _split_of(path)
    num_rows: Counter[str] = Counter()
    for line in lines:
        if isinstance(line, Rejected):
            yield line
            continue
        number, fields = line
        origin = f"{path}:{number}"
        song = dict(zip(columns, fields, strict=True))
        try:
            num_pieces = _num_pieces(song, context)
        except BadRecipeError as error:
            yield Rejected(origin, str(error))
            continue
        mix_path = song[_MIX_COLUMN]
        num_rows[mix_path] += 1
        for piece in range(num_pieces):
            yield _Piece(
                origin, split, instruments, song, num_rows[mix_path], piece, num_pieces, context
            )


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    """The recipe of one piece of a song, or of all of it.

    Attributes:
        origin: the file and the line.
        split: as the name of the file says.
        instruments: as the columns are called, in their order.
        song: the fields of the line by their columns.
        row: of those with the same mixture, from 1.
        piece: from 0.
        num_pieces: of the song.
        context: what the file leaves open.
    """

    origin: str
    split: str
    instruments: tuple[str, ...]
    song: Mapping[str, str]
    row: int
    piece: int
    num_pieces: int
    context: RecipeContext

    has_noise: ClassVar[bool] = False
    # If there is a room, it is in the files.
    has_rooms: ClassVar[bool] = False
    has_transmission: ClassVar[bool] = False
    enrolment_s: ClassVar[float | None] = None
    mixture_given: ClassVar[bool] = True

    @property
    def id(self) -> str:
        try:
            (corpus,) = self.context.corpora.values()
            path = _relative_path(corpus, self.song[_MIX_COLUMN], _MIX_COLUMN)
        except ValueError:
            return ""
        name = os.path.splitext(path)[0].replace("/", "_")
        if self.row > 1:
            name += f"_row{self.row}"
        return name if self.num_pieces == 1 else f"{name}_{self.piece:03d}"

    @property
    def num_sources(self) -> int:
        return len(self.instruments)

    @property
    def num_rows(self) -> int:
        return self.num_sources

    def audio(self) -> tuple[int, Channels]:
        corpus, candidate = self.named_files()[-1]
        path = join(corpus.root, candidate.path)
        try:
            header = read_header(path)
        except UnusableAudioError as error:
            raise BadRecipeError(f"{path}: {error}") from None
        return header.sample_rate, "average" if header.num_channels == 1 else "stereo"

    def named_files(self) -> list[tuple[Corpus, Candidate]]:
        if len(self.context.corpora) != 1:
            raise BadRecipeError("of one corpus: name Spleeter's audio_path, alone, with --corpus")
        (corpus,) = self.context.corpora.values()
        named = []
        for name in (*self.instruments, _MIX):
            path = _relative_path(corpus, self.song[name + _SUFFIX], name + _SUFFIX)
            # Two songs may use one file for different instruments.
            named.append((corpus, Candidate(path, f"{name}/{path}", name)))
        return named

    def complete(self, files: Sequence[Utterance]) -> Recipe:
        *stems, mix = files
        for stem in stems:
            _check_alike(stem, mix)
        length_s = float(self.context.length or 0)
        if length_s and abs(float(self.song["duration"]) - mix.duration_s) > length_s:
            raise BadRecipeError(
                f"{mix.path}: {mix.duration_s:.1f} s where 'duration' says {self.song['duration']}"
            )
        rate = self.context.sample_rate
        start, stop = (
            mix.stop * number // self.num_pieces for number in (self.piece, self.piece + 1)
        )
        return Recipe(
            id=self.id,
            split=self.split,
            sample_rate=rate,
            duration_s=round((stop - start) / mix.sample_rate * rate) / rate,
            channels=self.context.channels,
            sources=tuple(
                Source(
                    utterance=stem.id,
                    corpus=stem.corpus,
                    path=stem.path,
                    speaker=stem.speaker,
                    gender="",
                    start=start,
                    stop=stop,
                    file_sample_rate=stem.sample_rate,
                    offset_s=0.0,
                    level_kind="gain_db",
                    level=0.0,
                )
                for stem in stems
            ),
            mixture=GivenMixture(mix.corpus, mix.path, start, stop, mix.sample_rate),
        )


def _find_instruments(path: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the instruments, in the order of their columns."""
    missing = [name for name in (_MIX_COLUMN, "duration") if name not in columns]
    if missing:
        raise UserError(f"{path}: {NAME} without {' and '.join(missing)} in its header")
    instruments = tuple(
        name.removesuffix(_SUFFIX)
        for name in columns
        if name.endswith(_SUFFIX) and name not in (_MIX_COLUMN, _DEGRADED_COLUMN)
    )
    if not 1 <= len(instruments) <= MAX_ROWS:
        raise UserError(f"{path}: {len(instruments)} instruments: a mixture has 1 to {MAX_ROWS}")
    return instruments


def _split_of(path: str) -> str:
    """Returns train, as Spleeter does, unless a word of the file's name says otherwise."""
    words = re.split(r"[^a-z]+", os.path.basename(path).lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), "train")


def _num_pieces(song: Mapping[str, str], context: RecipeContext) -> int:
    """Returns the number of mixtures that a song makes, by the duration in the CSV."""
    try:
        duration_s = duration_field(song, "duration")
    except BadLineError as error:
        raise BadRecipeError(str(error)) from None
    if duration_s > _MAX_DURATION_S:
        raise BadRecipeError(f"a duration of {duration_s:g} s")
    return max(round(duration_s / float(context.length)), 1) if context.length else 1


def _relative_path(corpus: Corpus, path: str, column: str) -> str:
    if not path:
        raise BadRecipeError(f"no {column!r}")
    try:
        relative = corpus_path(corpus, path)
    except BadLineError as error:
        raise BadRecipeError(f"{path}: {error}") from None
    if os.path.isabs(relative):
        raise BadRecipeError(f"{path}: not in {corpus.root}: name Spleeter's audio_path, --corpus")
    return relative


def _check_alike(stem: Utterance, mix: Utterance) -> None:
    for unit, of_stem, of_mix in (
        ("Hz", stem.sample_rate, mix.sample_rate),
        ("frames", stem.stop, mix.stop),
        ("channels", stem.num_channels, mix.num_channels),
    ):
        if of_stem != of_mix:
            raise BadRecipeError(
                f"{stem.path}: {of_stem} {unit} where its mixture {mix.path} has {of_mix}:"
                " instruments and mixture must be alike"
            )

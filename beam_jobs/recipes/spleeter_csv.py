"""Spleeter's training CSVs: `mix_path,<instrument>_path,...,duration`.

The mixture is the file of `mix_path`, whether it is the sum of its instruments or not. With a
length it is cut into pieces of about that, each a mixture; Spleeter takes some of 20 seconds.

Source: https://github.com/deezer/spleeter/wiki/5.-Training-with-your-own-data (Hennequin et al.).
"""

import csv
import os
import re
from collections.abc import Iterator, Sequence

from beam_jobs.audio.decoding import read_header
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.manifest import BadLineError, corpus_path, read_lines, seconds_field
from beam_jobs.recipes.recipe_format import BadRecipeError, RecipeContext, Row
from beam_jobs.storage import files
from schemas.errors import UserError
from schemas.recipe import Channels, GivenMixture, Recipe, Source, Utterance

NAME = "Spleeter's training CSV"

_MIX = "mix_path"
_SUFFIX = "_path"
_MAX_INSTRUMENTS = 5
_BYTE_ORDER_MARK = "\ufeff"

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
    """Whether the header is Spleeter's, or was meant to be."""
    columns = set(_columns(first_line))
    return _MIX in columns or ("duration" in columns and any(map(_is_path, columns)))


def read_rows(path: str, context: RecipeContext) -> Iterator[tuple[int, Row | BadRecipeError]]:
    """Yields each row once for each piece, by the names of its columns.

    The split, by the name of the file, is added to it, and which piece of how many it stands for.

    Raises:
        UserError: the header lacks a column, or has too many.
    """
    if context.length in ("min", "max"):
        raise UserError(f"--length={context.length}: {NAME} is cut into pieces of SECONDS, or not")
    lines = read_lines(path)
    columns = _columns(next(lines, ""))
    missing = [name for name in (_MIX, "duration") if name not in columns]
    if missing:
        raise UserError(f"{path}: {NAME} without {' and '.join(missing)} in its header")
    num_instruments = sum(map(_is_path, columns)) - 1
    if not 1 <= num_instruments <= _MAX_INSTRUMENTS:
        raise UserError(
            f"{path}: {num_instruments} instruments: a mixture has 1 to {_MAX_INSTRUMENTS}"
        )
    split_name = _split_of(path)
    for number, fields in enumerate(csv.reader(lines), 2):
        if len(fields) == len(columns):
            row = dict(zip(columns, fields, strict=True))
            try:
                num_pieces = _num_pieces(row, context)
            except BadRecipeError as error:
                yield number, error
                continue
            for piece in range(num_pieces):
                yield number, row | {"split": split_name, "piece": piece, "num_pieces": num_pieces}
        elif fields:
            reason = f"{len(fields)} fields where {len(columns)} belong"
            yield number, BadRecipeError(reason)


def split(row: Row) -> str:
    """The one that the file's name says."""
    return str(row["split"])


def num_sources(row: Row) -> int:
    """As many as there are instruments."""
    return len(instruments(row))


def has_noise(row: Row, context: RecipeContext) -> bool:
    """Never."""
    del row, context
    return False


def has_rooms(row: Row) -> bool:
    """Never: what there is of a room is in the files."""
    del row
    return False


def is_mixture_given(row: Row) -> bool:
    """Always."""
    del row
    return True


def instruments(row: Row) -> tuple[str, ...]:
    """As the columns are called, in their order."""
    return tuple(name.removesuffix(_SUFFIX) for name in row if _is_path(name) and name != _MIX)


def audio(row: Row, context: RecipeContext) -> tuple[int, Channels]:
    """Those of the mixture's file."""
    corpus, candidate = candidates(row, context)[-1]
    path = files.join(corpus.root, candidate.path)
    try:
        header = read_header(path)
    except UnusableAudioError as error:
        raise BadRecipeError(f"{path}: {error}") from None
    return header.sample_rate, "average" if header.num_channels == 1 else "stereo"


def candidates(row: Row, context: RecipeContext) -> list[tuple[Corpus, Candidate]]:
    """The files of the instruments, then the mixture's."""
    if len(context.corpora) != 1:
        raise BadRecipeError("of one corpus: name Spleeter's audio_path, alone, with --corpus")
    (corpus,) = context.corpora.values()
    named = []
    for name in (*instruments(row), _MIX.removesuffix(_SUFFIX)):
        path = _relative_path(corpus, row[name + _SUFFIX], name + _SUFFIX)
        # A file may be one instrument's here and another's there.
        named.append((corpus, Candidate(path, f"{name}/{path}", name)))
    return named


def recipe(row: Row, files: Sequence[Utterance], context: RecipeContext) -> Recipe:
    """The recipe of mixture and instruments, which all begin and end together."""
    *stems, mix = files
    for stem in stems:
        _check_alike(stem, mix)
    if context.length and abs(float(row["duration"]) - mix.duration_s) > float(context.length):
        raise BadRecipeError(
            f"{mix.path}: {mix.duration_s:.1f} s where 'duration' says {row['duration']}"
        )
    rate, piece, num_pieces = context.sample_rate, row["piece"], row["num_pieces"]
    start, stop = (mix.stop * number // num_pieces for number in (piece, piece + 1))
    name = os.path.splitext(mix.path)[0].replace("/", "_")
    return Recipe(
        id=name if num_pieces == 1 else f"{name}_{piece:03d}",
        split=split(row),
        sample_rate=rate,
        duration_s=round((stop - start) / mix.sample_rate * rate) / rate,
        channels=context.channels,
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


def _columns(header: str) -> list[str]:
    fields = next(csv.reader([header.removeprefix(_BYTE_ORDER_MARK)]), [])
    return [field.strip() for field in fields]


def _is_path(column: str) -> bool:
    return column.endswith(_SUFFIX)


def _split_of(path: str) -> str:
    """Train, as for Spleeter, unless a word of the file's name says otherwise."""
    words = re.split(r"[^a-z]+", os.path.basename(path).lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), "train")


def _num_pieces(row: Row, context: RecipeContext) -> int:
    """How many mixtures a row makes, before anybody has looked into its files."""
    try:
        duration_s = seconds_field(row, "duration")
    except BadLineError as error:
        raise BadRecipeError(str(error)) from None
    if duration_s <= 0:
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
    for what, of_stem, of_mix in (
        ("Hz", stem.sample_rate, mix.sample_rate),
        ("frames", stem.stop, mix.stop),
        ("channels", stem.num_channels, mix.num_channels),
    ):
        if of_stem != of_mix:
            raise BadRecipeError(
                f"{stem.path}: {of_stem} {what} where its mixture {mix.path} has {of_mix}:"
                " instruments and mixture must be alike"
            )

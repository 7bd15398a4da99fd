"""LibriMix's metadata: `mixture_ID,source_1_path,source_1_gain,...,noise_path,noise_gain`.

What comes of it is what LibriMix's own script writes, to one step of 16-bit PCM: the files are
scaled, resampled by SciPy's `resample_poly` and cut to the shortest, or padded to the longest.

Source: https://github.com/JorisCos/LibriMix (Cosentino et al., 2020), metadata/ and scripts/.
"""

import csv
import functools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.corpora.librispeech import corpus_split, read_genders
from beam_jobs.corpora.manifest import read_lines
from beam_jobs.corpora.sounds import sound_candidate
from beam_jobs.recipes.recipe_format import BadRecipeError, RecipeContext, Row
from schemas.errors import UserError
from schemas.recipe import Channels, Noise, Recipe, Source, Utterance

NAME = "LibriMix's metadata"

_SAMPLE_RATE = 16_000


def recognises(first_line: str) -> bool:
    """Whether the header is LibriMix's."""
    columns = first_line.split(",")
    return {"mixture_ID", "source_1_path", "source_1_gain"} <= set(columns)


def read_rows(path: str, context: RecipeContext) -> Iterator[tuple[int, Row | BadRecipeError]]:
    """Yields each row, by the names of its columns."""
    if not isinstance(context.length, str):
        raise UserError(f"--length={context.length:g}: LibriMix has min and max")
    rows = csv.reader(read_lines(path))
    columns = next(rows, [])
    for row in rows:
        if len(row) == len(columns):
            yield rows.line_num, dict(zip(columns, row, strict=True))
        elif row:
            yield (
                rows.line_num,
                BadRecipeError(f"{len(row)} fields where {len(columns)} belong"),
            )


def split(row: Row) -> str:
    """The one of LibriSpeech's that the first source is in."""
    return corpus_split(row["source_1_path"]) or "train"


def num_sources(row: Row) -> int:
    """As many as there are columns for."""
    return sum(bool(re.fullmatch(r"source_\d+_path", column)) for column in row)


def has_noise(row: Row, context: RecipeContext) -> bool:
    """Wherever a noise corpus is given."""
    del row
    return context.noise_corpus is not None


def has_rooms(row: Row) -> bool:
    """Never: LibriMix's are dry."""
    del row
    return False


def is_mixture_given(row: Row) -> bool:
    """Never."""
    del row
    return False


def instruments(row: Row) -> tuple[str, ...]:
    """None: they are speakers."""
    del row
    return ()


def audio(row: Row, context: RecipeContext) -> tuple[int, Channels]:
    """The rate of LibriSpeech, and the first channel, which matters for the noise."""
    del row, context
    return _SAMPLE_RATE, 0


def candidates(row: Row, context: RecipeContext) -> list[tuple[Corpus, Candidate]]:
    """The files of the sources, and of the noise where there is a corpus of it."""
    if len(context.corpora) != 1:
        raise BadRecipeError("of one corpus: name LibriSpeech's folder, alone, with --corpus")
    (corpus,) = context.corpora.values()
    named = []
    for number in range(1, num_sources(row) + 1):
        path = row[f"source_{number}_path"]
        utterance = os.path.splitext(os.path.basename(path))[0]
        speaker = utterance.partition("-")[0]
        candidate = Candidate(path, utterance, speaker, _genders(corpus).get(speaker, ""))
        named.append((corpus, candidate))
    if context.noise_corpus is not None:
        path = row.get("noise_path", "")
        if not path:
            raise BadRecipeError("no 'noise_path': leave --noise out")
        named.append((context.noise_corpus, sound_candidate(context.noise_corpus, path)))
    return named


def recipe(row: Row, files: Sequence[Utterance], context: RecipeContext) -> Recipe:
    """The recipe that LibriMix's script follows without saying it."""
    count = num_sources(row)
    utterances = files[:count]
    rate = context.sample_rate or _SAMPLE_RATE
    fit = max if context.length == "max" else min
    # What resample_poly makes of each: rounded up, where soxr rounds to the nearest.
    num_samples = fit(-(-file.stop * rate // file.sample_rate) for file in utterances)
    return Recipe(
        id=row["mixture_ID"],
        split=split(row),
        sample_rate=rate,
        duration_s=num_samples / rate,
        channels=0,
        sources=tuple(
            Source(
                utterance=file.id,
                corpus=file.corpus,
                path=file.path,
                speaker=file.speaker,
                gender=file.gender,
                start=0,
                # All of it, even where it is cut: a cut before resampling changes its last samples.
                stop=file.stop,
                file_sample_rate=file.sample_rate,
                offset_s=0.0,
                level_kind="gain_db",
                level=_decibels(row[f"source_{number}_gain"]),
            )
            for number, file in enumerate(utterances, 1)
        ),
        noise=_noise(files[count], row, utterances) if files[count:] else None,
        resampler="resample_poly",
    )


def _noise(file: Utterance, row: Row, utterances: Sequence[Utterance]) -> Noise:
    num_frames = max(utterance.stop for utterance in utterances)
    return Noise(
        corpus=file.corpus,
        path=file.path,
        start=0,
        stop=min(file.stop, num_frames),
        num_frames=num_frames,
        file_sample_rate=file.sample_rate,
        level_kind="gain_db",
        level=_decibels(row["noise_gain"]),
    )


@functools.lru_cache(maxsize=1)
def _genders(corpus: Corpus) -> Mapping[str, str]:
    return read_genders(corpus)


def _decibels(gain: str) -> float:
    try:
        return 20 * math.log10(float(gain))
    except ValueError:
        raise BadRecipeError(f"a gain that is not a positive number: {gain!r}") from None

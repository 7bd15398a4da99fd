"""Rendering: a recipe becomes audio."""

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from beam_jobs import files
from beam_jobs.audio import Samples, UnusableAudioError, read_segment
from beam_jobs.loudness import integrated_loudness_lufs
from schemas.recipe import Recipe, Source
from schemas.tfrecord import encode_example

Pcm = npt.NDArray[np.int16]

_Scalar = TypeVar("_Scalar", bound=np.generic)

_FULL_SCALE = 32768
_MAX_PCM = 32767
# What a 16-bit file can just hold is no speech.
_SILENCE_DBFS = -90.0
# Louder than 16-bit samples that a float file holds unscaled.
_ABSURD_DBFS = 120.0
# Half an hour of two sources at 16 kHz: a longer mixture would not fit into a worker's memory, and
# what is more likely than such an utterance is a header that promises it.
_MAX_SAMPLES = 1 << 26


class UnusableSourceError(Exception):
    """The file of a source can't be used.

    Attributes:
        index: which source of the recipe.
        source: the source.
        reason: why.
    """

    def __init__(self, index: int, source: Source, reason: str) -> None:
        super().__init__(index, source, reason)
        self.index = index
        self.source = source
        self.reason = reason


class Scratch:
    """Memory that is used again for each mixture.

    Fresh arrays of a megabyte come from the kernel page by page; for short work like this that
    takes half of the time, and threads wait for each other over it.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, npt.NDArray[np.uint8]] = {}

    def array(
        self, name: str, shape: tuple[int, ...], dtype: type[_Scalar]
    ) -> npt.NDArray[_Scalar]:
        """An array with anything in it, valid until the same name is asked for again."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size + size // 4, np.uint8)
        return np.ndarray(shape, dtype, buffer)


@dataclasses.dataclass(frozen=True, slots=True)
class Mixture:
    """A rendered recipe.

    Attributes:
        recipe: what was rendered, with the common gain that it took.
        mixture: int16 [samples], the sum of the sources to the last bit.
        sources: int16 [sources, samples], each as it sounds in the mixture.
        gains_db: all that was applied to the samples of each source's file.
        levels_dbfs: the RMS level of each source where it is placed; minus infinity where there is
            nothing of it.
    """

    recipe: Recipe
    mixture: Pcm
    sources: Pcm
    gains_db: tuple[float, ...]
    levels_dbfs: tuple[float, ...]


def render(recipe: Recipe, corpus_roots: Mapping[str, str], scratch: Scratch) -> Mixture:
    """Renders a recipe: decodes, resamples, scales, places, quantises.

    Args:
        recipe: what to render.
        corpus_roots: the folder of each corpus, by its name.
        scratch: where the audio of the result is, until the next call with it.

    Raises:
        UnusableSourceError: a file can't be read, or has no sound in it.
    """
    for index, source in enumerate(recipe.sources):
        if source.duration_s * recipe.sample_rate * len(recipe.sources) > _MAX_SAMPLES:
            reason = "too long for a mixture: cut it into utterances, or give --length"
            raise UnusableSourceError(index, source, reason)
    shape = (len(recipe.sources), recipe.num_samples)
    # All audio below is float32 in steps of 16-bit PCM.
    sources = scratch.array("sources", shape, np.float32)
    gains_db, levels_dbfs, peaks = [], [], []
    for index, source in enumerate(recipe.sources):
        try:
            samples = _read_source(source, recipe, corpus_roots)
            level_dbfs = _level_dbfs(samples)
            gains_db.append(_gain_db(source, samples, level_dbfs, recipe.sample_rate))
        except UnusableAudioError as error:
            raise UnusableSourceError(index, source, str(error)) from None
        start = round(source.offset_s * recipe.sample_rate)
        stop = min(start + len(samples), recipe.num_samples)
        gain = np.float32(_FULL_SCALE * 10 ** (gains_db[-1] / 20))
        sources[index, :start] = 0
        placed = np.multiply(samples[: stop - start], gain, out=sources[index, start:stop])
        sources[index, stop:] = 0
        levels_dbfs.append(level_dbfs + gains_db[-1])
        peaks.append(_peak(placed))

    mixture = np.sum(sources, axis=0, out=scratch.array("mixture", shape[1:], np.float32))
    common_gain = _common_gain(max(_peak(mixture), *peaks), len(sources))
    if common_gain < 1:
        np.multiply(sources, np.float32(common_gain), out=sources)
    np.rint(sources, out=sources)
    pcm = scratch.array("sources_pcm", shape, np.int16)
    np.copyto(pcm, sources, casting="unsafe")
    mixture_pcm = scratch.array("mixture_pcm", shape[1:], np.int16)
    np.sum(pcm, axis=0, dtype=np.int16, out=mixture_pcm)
    common_gain_db = round(20 * math.log10(common_gain), 6)
    return Mixture(
        recipe=dataclasses.replace(recipe, common_gain_db=common_gain_db),
        mixture=mixture_pcm,
        sources=pcm,
        gains_db=tuple(gain_db + common_gain_db for gain_db in gains_db),
        levels_dbfs=tuple(level_dbfs + common_gain_db for level_dbfs in levels_dbfs),
    )


def encode_mixture(mixture: Mixture) -> bytes:
    """The record of a mixture, as `schemas.dataset.features_document` describes it."""
    recipe = mixture.recipe
    return encode_example(
        {
            "id": recipe.id.encode(),
            "mixture": mixture.mixture.data.cast("B"),
            "sources": mixture.sources.data.cast("B"),
            "sample_rate": [recipe.sample_rate],
            "speakers": [source.speaker.encode() for source in recipe.sources],
            "offsets_s": [source.offset_s for source in recipe.sources],
            "gains_db": mixture.gains_db,
            "recipe": recipe.to_json().encode(),
        }
    )


def _read_source(source: Source, recipe: Recipe, corpus_roots: Mapping[str, str]) -> Samples:
    path = files.join(corpus_roots[source.corpus], source.path)
    samples = read_segment(path, source.start, source.stop, recipe.channels)
    if source.file_sample_rate != recipe.sample_rate:
        samples = soxr.resample(samples, source.file_sample_rate, recipe.sample_rate)
    return samples


def _level_dbfs(samples: Samples) -> float:
    power = float(np.vdot(samples, samples)) / max(len(samples), 1)
    return 10 * math.log10(power) if power else -math.inf


def _gain_db(source: Source, samples: Samples, level_dbfs: float, sample_rate: int) -> float:
    """The gain that gives a source its level.

    Raises:
        UnusableAudioError: there is nothing but silence, or more than any sound has.
    """
    if not len(samples):
        return 0.0
    if level_dbfs < _SILENCE_DBFS:
        raise UnusableAudioError("silence")
    if level_dbfs > _ABSURD_DBFS:
        raise UnusableAudioError("samples far beyond full scale")
    if source.level_kind == "gain_db":
        return source.level
    if source.level_kind == "rms_dbfs":
        return source.level - level_dbfs
    loudness_lufs = integrated_loudness_lufs(samples, sample_rate)
    if math.isinf(loudness_lufs):
        raise UnusableAudioError("too quiet for its loudness to be measured")
    return source.level - loudness_lufs


def _peak(samples: Samples) -> float:
    return float(max(samples.max(initial=0), -samples.min(initial=0)))


def _common_gain(peak: float, num_sources: int) -> float:
    """The factor, 1 or less, with which neither the mixture nor a source clips."""
    # Each source may be rounded up by a half, and the mixture by all of them.
    limit = _MAX_PCM - num_sources / 2
    return min(1.0, limit / peak) if peak else 1.0

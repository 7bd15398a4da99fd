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
# -90 dBFS: what a 16-bit file can just hold is no speech.
_SILENCE = 10 ** (-90 / 20)


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
    """

    recipe: Recipe
    mixture: Pcm
    sources: Pcm
    gains_db: tuple[float, ...]


def render(recipe: Recipe, corpus_roots: Mapping[str, str], scratch: Scratch) -> Mixture:
    """Renders a recipe: decodes, resamples, scales, places, quantises.

    Args:
        recipe: what to render.
        corpus_roots: the folder of each corpus, by its name.
        scratch: where the audio of the result is, until the next call with it.

    Raises:
        UnusableSourceError: a file can't be read, or has no sound in it.
    """
    shape = (len(recipe.sources), recipe.num_samples)
    sources: Samples = scratch.array("sources", shape, np.float32)
    gains = []
    for index, source in enumerate(recipe.sources):
        try:
            samples = _read_source(source, recipe, corpus_roots)
            gains.append(_gain(source, samples, recipe.sample_rate))
        except UnusableAudioError as error:
            raise UnusableSourceError(index, source, str(error)) from None
        start = round(source.offset_s * recipe.sample_rate)
        stop = min(start + len(samples), recipe.num_samples)
        sources[index, :start] = 0
        np.multiply(samples[: stop - start], np.float32(gains[-1]), out=sources[index, start:stop])
        sources[index, stop:] = 0

    mixture: Samples = scratch.array("mixture", shape[1:], np.float32)
    np.sum(sources, axis=0, out=mixture)
    common_gain = _common_gain(sources, mixture)
    np.multiply(sources, np.float32(common_gain * _FULL_SCALE), out=sources)
    np.rint(sources, out=sources)
    pcm: Pcm = scratch.array("sources_pcm", shape, np.int16)
    np.copyto(pcm, sources, casting="unsafe")
    mixture_pcm: Pcm = scratch.array("mixture_pcm", shape[1:], np.int16)
    np.sum(pcm, axis=0, dtype=np.int16, out=mixture_pcm)
    common_gain_db = _decibels(common_gain)
    return Mixture(
        dataclasses.replace(recipe, common_gain_db=round(common_gain_db, 6)),
        mixture_pcm,
        pcm,
        tuple(_decibels(gain) + common_gain_db for gain in gains),
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


def _gain(source: Source, samples: Samples, sample_rate: int) -> float:
    """The factor that gives a source its level.

    Raises:
        UnusableAudioError: there is nothing but silence.
    """
    if not len(samples):
        return 1.0
    if max(samples.max(), -samples.min()) < _SILENCE:
        raise UnusableAudioError("silence")
    if source.level_kind == "gain_db":
        return _amplitude(source.level)
    if source.level_kind == "rms_dbfs":
        level_db = 10 * math.log10(float(np.vdot(samples, samples)) / len(samples))
    else:
        level_db = integrated_loudness_lufs(samples, sample_rate)
        if math.isinf(level_db):
            raise UnusableAudioError("too quiet for its loudness to be measured")
    return _amplitude(source.level - level_db)


def _common_gain(sources: Samples, mixture: Samples) -> float:
    """The factor, 1 or less, with which neither the mixture nor a source clips."""
    peak = max(
        abs(float(extreme))
        for signal in (sources, mixture)
        for extreme in (signal.min(), signal.max())
    )
    # Each source may be rounded up by a half, and the mixture by all of them.
    limit = (_MAX_PCM - len(sources) / 2) / _FULL_SCALE
    return min(1.0, limit / peak) if peak else 1.0


def _decibels(factor: float) -> float:
    return 20 * math.log10(factor)


def _amplitude(level_db: float) -> float:
    return float(10 ** (level_db / 20))

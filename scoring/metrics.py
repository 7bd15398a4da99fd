"""Measures of how well a mixture is separated, and the ideal ratio mask as an upper bound.

PESQ, STOI and BSS Eval are measured where the packages `pesq`, `pystoi` and `fast_bss_eval` are
installed.
"""

import collections
import dataclasses
import importlib
from collections.abc import Callable, Iterable
from types import ModuleType

import numpy as np
import numpy.typing as npt
import scipy.signal

from schemas.pcm import Samples
from scoring.permutations import Scores, best_permutation

Levels = npt.NDArray[np.float64]

SILENT_OUTPUTS = "silent_outputs"
"""The one measure that is a count: it is added up, where others have a mean."""

_EPSILON = 1e-10
_PESQ_MODES = {8000: "nb", 16000: "wb"}
# pystoi returns this, with a warning, for less than 0.4 s of speech.
_TOO_LITTLE_SPEECH = 1e-5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A stretch of a mixture, or all of it.

    Attributes:
        estimates: the outputs of a model, float32 [sources, samples].
        sources: the true sources, float32 [sources, samples].
        mixture: float32 [samples].
    """

    estimates: Samples
    sources: Samples
    mixture: Samples

    def alone(self) -> "tuple[Block]":
        """Returns this as the only block of its mixture; the method itself is a `Blocks`."""
        return (self,)


Blocks = Callable[[], Iterable[Block]]
"""Returns the blocks of a mixture from its beginning, each time it is called."""


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


_BSS_EVAL, _PESQ, _STOI = _optional("fast_bss_eval"), _optional("pesq"), _optional("pystoi")


def si_sdr_db(estimates: Samples, sources: Samples) -> Scores:
    """Returns the scale-invariant signal-to-distortion ratio of each estimate for each source.

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.

    Args:
        estimates: [estimates, samples].
        sources: [sources, samples].

    Returns:
        float64 [estimates, sources], in dB.
    """
    products = _Products()
    products.add(estimates, sources)
    return products.si_sdr_db()


def measure(blocks: Blocks, sample_rate: int) -> tuple[dict[str, float], tuple[int, ...]]:
    """Takes all measures of one mixture, each as the mean over its sources.

    A source that is silent throughout has no SI-SDR. The outputs that are left when all others have
    theirs belong to the silent ones: `residual_db` is the level of these outputs relative to the
    mixture. Where only one of several sources is heard, nothing is separated, and its SI-SDR has a
    name of its own, `single_si_sdr_db`.

    An output that is silent throughout though its source is heard has no ratio to anything: such
    outputs are counted, as `SILENT_OUTPUTS`, and all else is measured without them.

    SI-SDR, and the permutation that follows from it, are computed over the whole mixture, however
    many blocks it is read in. The other measures are averaged over the blocks.

    Args:
        blocks: of the mixture; read twice.
        sample_rate: in Hz.

    Returns:
        The measures by name, without those that could not be taken, and the estimate of each
        source.
    """
    separated, unprocessed = _Products(), _Products()
    for block in blocks():
        separated.add(block.estimates, block.sources)
        unprocessed.add(block.mixture[np.newaxis], block.sources)
    pairwise_db = separated.si_sdr_db()
    is_heard = separated.source_energies > 0
    order, _ = best_permutation(np.where(is_heard, pairwise_db, 0))
    measures = {}
    if not is_heard.all():
        left = separated.estimate_energies[np.array(order)[~is_heard]]
        levels_db = 10 * np.log10((left + _EPSILON) / (unprocessed.estimate_energies + _EPSILON))
        measures["residual_db"] = float(np.mean(levels_db))
    is_silent = is_heard & (separated.estimate_energies[list(order)] == 0)
    if is_silent.any():
        measures[SILENT_OUTPUTS] = float(is_silent.sum())
    is_scored = is_heard & ~is_silent
    if not is_scored.any():
        return measures, order
    mean_db = float(np.mean(pairwise_db[order, range(len(order))][is_scored]))
    if not is_heard.all() and is_heard.sum() == 1:
        return {"single_si_sdr_db": mean_db} | measures, order
    unprocessed_db = float(np.mean(unprocessed.si_sdr_db()[:, is_scored]))
    measures = {"si_sdr_db": mean_db, "si_sdri_db": mean_db - unprocessed_db} | measures
    values = collections.defaultdict(list)
    for block in blocks():
        scored = Block(
            block.estimates[np.array(order)[is_scored]], block.sources[is_scored], block.mixture
        )
        for name, value in _measure_block(scored, sample_rate).items():
            values[name].append(value)
    return measures | {name: float(np.mean(all_)) for name, all_ in values.items()}, order


def ideal_ratio_mask(sources: Samples, mixture: Samples, sample_rate: int) -> Samples:
    """Separates a mixture with masks that are made from the true sources.

    That is about the best that a mask on the magnitudes of an STFT can do.

    Args:
        sources: float32 [sources, samples].
        mixture: float32 [samples].
        sample_rate: in Hz.

    Returns:
        The separated sources, float32 [sources, samples].
    """
    length = 2 ** round(np.log2(0.064 * sample_rate))
    framing = {"nperseg": length, "noverlap": length - length // 4}
    *spectra, mixture_spectrum = scipy.signal.stft(np.vstack([sources, mixture]), **framing)[2]
    magnitudes = np.abs(spectra)
    masks = magnitudes / (magnitudes.sum(axis=0) + _EPSILON)
    separated: Samples = scipy.signal.istft(masks * mixture_spectrum, **framing)[1]
    return separated[:, : len(mixture)].astype(np.float32)


def source_levels_db(blocks: Iterable[Samples]) -> Levels:
    """Returns the RMS level of each source where it sounds, float64 [sources], in dBFS.

    A source that is silent throughout has a level of minus infinity.

    Args:
        blocks: of the sources, each float32 [sources, samples].
    """
    energies: Levels = np.zeros(1)
    num_sounding: Levels = np.zeros(1)
    for sources in blocks:
        energies = energies + np.sum(sources.astype(np.float64) ** 2, axis=1)
        num_sounding = num_sounding + (sources != 0).astype(np.float64).sum(axis=1)
    levels_db = 10 * np.log10(energies / np.maximum(num_sounding, 1) + _EPSILON)
    return np.where(num_sounding > 0, levels_db, -np.inf)


class _Products:
    """The products of estimates and sources that SI-SDR needs, summed over all blocks."""

    def __init__(self) -> None:
        self._products: Scores = np.zeros((1, 1))
        self._estimate_energies: Scores = np.zeros((1, 1))
        self._source_energies: Scores = np.zeros((1, 1))

    def add(self, estimates: Samples, sources: Samples) -> None:
        """Adds the products of further samples."""
        estimates, sources = estimates.astype(np.float64), sources.astype(np.float64)
        self._products = self._products + estimates @ sources.T
        self._estimate_energies = (
            self._estimate_energies + np.sum(estimates**2, axis=1)[:, np.newaxis]
        )
        self._source_energies = self._source_energies + np.sum(sources**2, axis=1)

    @property
    def source_energies(self) -> Levels:
        """The energy of each source, float64 [sources]."""
        return self._source_energies.ravel()

    @property
    def estimate_energies(self) -> Levels:
        """The energy of each estimate, float64 [estimates]."""
        return self._estimate_energies.ravel()

    def si_sdr_db(self) -> Scores:
        """Returns float64 [estimates, sources], in dB."""
        energies = self._estimate_energies * self._source_energies
        share = np.minimum(np.square(self._products) / (energies + _EPSILON**2), 1)
        ratio: Scores = 10 * np.log10((share + _EPSILON) / (1 - share + _EPSILON))
        return ratio


def _measure_block(block: Block, sample_rate: int) -> dict[str, float]:
    """Takes the measures of a block with an estimate of each source, in order.

    None are taken where a source or an estimate is silent.
    """
    if not (block.sources.any(axis=1).all() and block.estimates.any(axis=1).all()):
        return {}
    measures: dict[str, float] = {}
    if _BSS_EVAL:
        # Silence has no inverse, so the diagonal is loaded a little.
        sdr_db = _BSS_EVAL.sdr(
            block.sources.astype(np.float64), block.estimates.astype(np.float64), load_diag=1e-8
        )
        measures["sdr_db"] = float(np.mean(sdr_db))
    pairs = list(zip(block.sources, block.estimates, strict=True))
    if _STOI:
        scores = [_STOI.stoi(*pair, sample_rate) for pair in pairs]
        if _TOO_LITTLE_SPEECH not in scores:
            measures["stoi"] = float(np.mean(scores))
    if _PESQ and sample_rate in _PESQ_MODES:
        mode = _PESQ_MODES[sample_rate]
        scores = [_PESQ.pesq(sample_rate, *pair, mode) for pair in pairs]
        measures["pesq"] = float(np.mean(scores))
    return measures

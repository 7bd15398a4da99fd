"""How well a mixture is separated: measures, their best permutation, and bounds to read them by.

PESQ, STOI and BSS Eval are measured where the packages `pesq`, `pystoi` and `fast_bss_eval` are
installed.
"""

import collections
import dataclasses
import importlib
import itertools
from collections.abc import Callable, Iterable
from types import ModuleType

import numpy as np
import numpy.typing as npt
import scipy.signal

from schemas.pcm import Samples

Pairwise = npt.NDArray[np.float64]

_EPSILON = 1e-10
_PESQ_MODES = {8000: "nb", 16000: "wb"}
# What pystoi returns of less than 0.4 s of speech, with a warning.
_TOO_LITTLE_SPEECH = 1e-5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A stretch of a mixture, or all of it.

    Attributes:
        estimates: what was separated, [sources, samples].
        sources: what should have been, [sources, samples].
        mixture: [samples].
    """

    estimates: Samples
    sources: Samples
    mixture: Samples

    def alone(self) -> "tuple[Block]":
        """The blocks of a mixture that this is all of, for `measure`."""
        return (self,)


Blocks = Callable[[], Iterable[Block]]
"""Gives the blocks of a mixture, from the first on, however often it is called."""


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


_BSS_EVAL, _PESQ, _STOI = _optional("fast_bss_eval"), _optional("pesq"), _optional("pystoi")


def si_sdr_db(estimates: Samples, sources: Samples) -> Pairwise:
    """The scale-invariant signal-to-distortion ratio of each estimate for each source.

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.

    Args:
        estimates: [estimates, samples].
        sources: [sources, samples].

    Returns:
        [estimates, sources], in dB.
    """
    products = _Products()
    products.add(estimates, sources)
    return products.si_sdr_db()


def best_permutation(pairwise_db: Pairwise) -> tuple[int, ...]:
    """The estimate of each source, such that the mean is highest.

    Args:
        pairwise_db: [estimates, sources].
    """
    num_sources = pairwise_db.shape[1]
    return max(
        itertools.permutations(range(num_sources)),
        key=lambda order: float(pairwise_db[order, range(num_sources)].sum()),
    )


def measure(blocks: Blocks, sample_rate: int) -> tuple[dict[str, float], tuple[int, ...]]:
    """All measures of one mixture, each the mean over its sources.

    SI-SDR, and with it the permutation, is that of the whole mixture, in however many blocks it
    comes. The other measures are the mean of those of its blocks.

    Args:
        blocks: of the mixture.
        sample_rate: in Hz.

    Returns:
        The measures by name, without those that nothing could be measured by, and the estimate of
        each source.
    """
    separated, unprocessed = _Products(), _Products()
    for block in blocks():
        separated.add(block.estimates, block.sources)
        unprocessed.add(block.mixture[np.newaxis], block.sources)
    pairwise_db = separated.si_sdr_db()
    order = best_permutation(pairwise_db)
    mean_db = float(np.mean(pairwise_db[order, range(len(order))]))
    unprocessed_db = float(np.mean(unprocessed.si_sdr_db()))
    measures = {"si_sdr_db": mean_db, "si_sdri_db": mean_db - unprocessed_db}
    values = collections.defaultdict(list)
    for block in blocks():
        for name, value in _measure_block(block, order, sample_rate).items():
            values[name].append(value)
    return measures | {name: float(np.mean(all_)) for name, all_ in values.items()}, order


def ideal_ratio_mask(sources: Samples, mixture: Samples, sample_rate: int) -> Samples:
    """What masks on magnitudes could do at best, more or less: they are made from the sources.

    Args:
        sources: [sources, samples].
        mixture: [samples].
        sample_rate: in Hz.

    Returns:
        The separated sources, [sources, samples].
    """
    length = 2 ** round(np.log2(0.064 * sample_rate))
    framing = {"nperseg": length, "noverlap": length - length // 4}
    *spectra, mixture_spectrum = scipy.signal.stft(np.vstack([sources, mixture]), **framing)[2]
    magnitudes = np.abs(spectra)
    masks = magnitudes / (magnitudes.sum(axis=0) + _EPSILON)
    separated: Samples = scipy.signal.istft(masks * mixture_spectrum, **framing)[1]
    return separated[:, : len(mixture)].astype(np.float32)


def level_difference_db(blocks: Iterable[Samples]) -> float:
    """The level of the loudest source over that of the quietest, by the RMS of where they sound.

    Args:
        blocks: of the sources, each [sources, samples].
    """
    energies: npt.NDArray[np.float64] = np.zeros(1)
    num_sounding: npt.NDArray[np.float64] = np.zeros(1)
    for sources in blocks:
        energies = energies + np.sum(sources.astype(np.float64) ** 2, axis=1)
        num_sounding = num_sounding + (sources != 0).astype(np.float64).sum(axis=1)
    levels_db = 10 * np.log10(energies / np.maximum(num_sounding, 1) + _EPSILON)
    return float(np.ptp(levels_db))


class _Products:
    """What SI-SDR needs of all samples: the products of each estimate and each source."""

    def __init__(self) -> None:
        self._products: Pairwise = np.zeros((1, 1))
        self._estimate_energies: Pairwise = np.zeros((1, 1))
        self._source_energies: Pairwise = np.zeros((1, 1))

    def add(self, estimates: Samples, sources: Samples) -> None:
        """Adds the products of further samples."""
        estimates, sources = estimates.astype(np.float64), sources.astype(np.float64)
        self._products = self._products + estimates @ sources.T
        self._estimate_energies = (
            self._estimate_energies + np.sum(estimates**2, axis=1)[:, np.newaxis]
        )
        self._source_energies = self._source_energies + np.sum(sources**2, axis=1)

    def si_sdr_db(self) -> Pairwise:
        """[estimates, sources], in dB."""
        energies = self._estimate_energies * self._source_energies
        share = np.minimum(np.square(self._products) / (energies + _EPSILON**2), 1)
        ratio: Pairwise = 10 * np.log10((share + _EPSILON) / (1 - share + _EPSILON))
        return ratio


def _measure_block(block: Block, order: tuple[int, ...], sample_rate: int) -> dict[str, float]:
    """What is measured of one block; nothing where a source is silent."""
    if not block.sources.any(axis=1).all():
        return {}
    estimates = block.estimates[list(order)]
    measures: dict[str, float] = {}
    if _BSS_EVAL:
        # A little on the diagonal, because silence has no inverse.
        sdr_db = _BSS_EVAL.sdr(
            block.sources.astype(np.float64), estimates.astype(np.float64), load_diag=1e-8
        )
        measures["sdr_db"] = float(np.mean(sdr_db))
    pairs = list(zip(block.sources, estimates, strict=True))
    if _STOI:
        scores = [_STOI.stoi(*pair, sample_rate) for pair in pairs]
        if _TOO_LITTLE_SPEECH not in scores:
            measures["stoi"] = float(np.mean(scores))
    if _PESQ and sample_rate in _PESQ_MODES:
        mode = _PESQ_MODES[sample_rate]
        scores = [_PESQ.pesq(sample_rate, *pair, mode) for pair in pairs]
        measures["pesq"] = float(np.mean(scores))
    return measures

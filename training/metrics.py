"""How well a mixture is separated: measures, their best permutation, and bounds to read them by.

PESQ, STOI and BSS Eval are measured where the packages `pesq`, `pystoi` and `fast_bss_eval` are
installed.
"""

import importlib
import itertools
from types import ModuleType

import numpy as np
import numpy.typing as npt

from training.spectrogram import inverse_stft, stft

Audio = npt.NDArray[np.float32]

_EPSILON = 1e-10
_PESQ_MODES = {8000: "nb", 16000: "wb"}


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


_BSS_EVAL, _PESQ, _STOI = _optional("fast_bss_eval"), _optional("pesq"), _optional("pystoi")


def si_sdr_db(estimates: Audio, sources: Audio) -> npt.NDArray[np.float64]:
    """The scale-invariant signal-to-distortion ratio of each estimate for each source.

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.

    Args:
        estimates: [estimates, samples].
        sources: [sources, samples].

    Returns:
        [estimates, sources], in dB.
    """
    estimates, sources = estimates.astype(np.float64), sources.astype(np.float64)
    products = estimates @ sources.T
    energies = np.sum(estimates**2, axis=1)[:, np.newaxis] * np.sum(sources**2, axis=1)
    share = np.minimum(products**2 / (energies + _EPSILON**2), 1)
    ratio: npt.NDArray[np.float64] = 10 * np.log10((share + _EPSILON) / (1 - share + _EPSILON))
    return ratio


def best_permutation(pairwise_db: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """The estimate of each source, such that the mean is highest.

    Args:
        pairwise_db: [estimates, sources].
    """
    num_sources = pairwise_db.shape[1]
    return max(
        itertools.permutations(range(num_sources)),
        key=lambda order: float(pairwise_db[order, range(num_sources)].sum()),
    )


def measure(
    estimates: Audio, sources: Audio, mixture: Audio, sample_rate: int
) -> tuple[dict[str, float], tuple[int, ...]]:
    """All measures of one mixture, each the mean over its sources.

    Args:
        estimates: [sources, samples].
        sources: [sources, samples].
        mixture: [samples].
        sample_rate: in Hz.

    Returns:
        The measures by name, and the estimate of each source.
    """
    pairwise_db = si_sdr_db(estimates, sources)
    order = best_permutation(pairwise_db)
    separated_db = float(np.mean(pairwise_db[order, range(len(sources))]))
    unprocessed_db = float(np.mean(si_sdr_db(mixture[np.newaxis], sources)))
    measures = {"si_sdr_db": separated_db, "si_sdri_db": separated_db - unprocessed_db}
    ordered = estimates[list(order)]
    if _BSS_EVAL:
        # A little on the diagonal, because silence has no inverse.
        sdr_db = _BSS_EVAL.sdr(
            sources.astype(np.float64), ordered.astype(np.float64), load_diag=1e-8
        )
        measures["sdr_db"] = float(np.mean(sdr_db))
    pairs = list(zip(sources, ordered, strict=True))
    if _STOI:
        measures["stoi"] = float(np.mean([_STOI.stoi(*pair, sample_rate) for pair in pairs]))
    if _PESQ and sample_rate in _PESQ_MODES:
        mode = _PESQ_MODES[sample_rate]
        scores = [_PESQ.pesq(sample_rate, *pair, mode) for pair in pairs]
        measures["pesq"] = float(np.mean(scores))
    return measures, order


def ideal_ratio_mask(sources: Audio, mixture: Audio, sample_rate: int) -> Audio:
    """What masks on magnitudes could do at best, more or less: they are made from the sources.

    Args:
        sources: [sources, samples].
        mixture: [samples].
        sample_rate: in Hz.

    Returns:
        The separated sources, [sources, samples].
    """
    frame_length = 2 ** round(np.log2(0.064 * sample_rate))
    padding = (frame_length, frame_length + -len(mixture) % (frame_length // 4))
    padded = np.pad(np.vstack([mixture, sources]), ((0, 0), padding))[:, :, np.newaxis]
    spectra = stft(padded.astype(np.float32), frame_length, frame_length // 4).numpy()
    magnitudes = np.abs(spectra[1:])
    masks = magnitudes / (magnitudes.sum(axis=0) + _EPSILON)
    separated = inverse_stft(masks * spectra[:1], frame_length, frame_length // 4).numpy()
    audio: Audio = separated[:, frame_length : frame_length + len(mixture), 0]
    return audio


def overlap_ratio(intervals_s: list[tuple[float, float]]) -> float:
    """Of the time in which anybody speaks, the part in which two or more do.

    Args:
        intervals_s: where each source starts and where it stops, in seconds.
    """
    edges = sorted({edge for interval in intervals_s for edge in interval})
    active_s = overlapped_s = 0.0
    for start_s, stop_s in itertools.pairwise(edges):
        num_active = sum(first <= start_s and stop_s <= last for first, last in intervals_s)
        active_s += (stop_s - start_s) * (num_active > 0)
        overlapped_s += (stop_s - start_s) * (num_active > 1)
    return overlapped_s / active_s if active_s else 0.0


def level_difference_db(sources: Audio) -> float:
    """The level of the loudest source over that of the quietest, by the RMS of where they sound.

    Args:
        sources: [sources, samples].
    """
    levels_db = []
    for source in sources.astype(np.float64):
        sounding = source[source != 0]
        power = np.mean(sounding**2) if sounding.size else 0.0
        levels_db.append(10 * np.log10(power + _EPSILON))
    return float(max(levels_db) - min(levels_db))

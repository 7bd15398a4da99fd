"""Giving each speaker one output where a joint model's outputs swap from window to window.

A window's outputs are compared with the ones before it in three steps, and the first that tells
decides: by correlation where the two windows overlap, in the frames where there is something to
hear; by the long-term spectrum that each output has had so far, which reaches over a pause of any
length; and where neither tells, the order is kept.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.fft

from beam_jobs.separation.framing import Framing, Samples
from schemas.ledger import Alignment

Array = npt.NDArray[np.float64]
Decision = Literal["overlap", "spectrum", "kept"]

_FRAME_S = 0.032
_NUM_BANDS = 24
_MIN_FRAMES = 4
# A frame counts as silent when it is this far below the loudest one so far, or below this level.
_GATE_DB = -40.0
_FLOOR_DBFS = -65.0
# A frame tells how a speaker sounds where the other outputs are at least this much softer.
_DOMINANCE_DB = 10.0
# Out of 2, the difference between outputs that are the same and outputs that are swapped.
_MIN_OVERLAP_MARGIN = 0.1
_MIN_SPECTRUM_MARGIN_DB = 1.0
# How much a spectrum remembers: a speaker's voice and line change over an archive's long files.
_MEMORY_S = 120.0


class Aligner:
    """Puts the outputs of one signal's windows, in turn, in the order of the first window's.

    Attributes:
        decisions: what decided, for each window but the first.
        margins: for each of them, how much better the order chosen is than the next best: in
            correlation (0 to 2) for `overlap`, in dB for `spectrum`, 0 for `kept`.
    """

    def __init__(self, framing: Framing, sample_rate: int) -> None:
        self._framing = framing
        self._frame_length = max(16, round(_FRAME_S * sample_rate))
        self._bands = _band_weights(self._frame_length, sample_rate)
        self._memory_frames = _MEMORY_S / _FRAME_S
        self._loudest_db = _FLOOR_DBFS - _GATE_DB
        self._overlap: Samples | None = None
        self._spectra: Array | None = None
        self._weights: Array | None = None
        self.decisions: list[Decision] = []
        self.margins: list[float] = []

    def align(self, output: Samples) -> Samples:
        """Reorders a window's outputs.

        Args:
            output: float32 [sources, length, channels].

        Returns:
            The same, in the order of the windows before.
        """
        trusted = output[:, self._framing.context : self._framing.length - self._framing.context]
        spectra, weights = self._describe(trusted.mean(axis=2))
        if self._overlap is not None:
            order = list(self._choose_order(output[:, self._framing.overlap], spectra, weights))
            output, spectra, weights = output[order], spectra[order], weights[order]
        self._overlap = output[:, self._framing.overlap_before]
        self._remember(spectra, weights)
        return output

    def summary(self) -> Alignment:
        """What the ledger keeps of the decisions."""
        smallest: dict[Decision, float] = {}
        for decision, margin in zip(self.decisions, self.margins, strict=True):
            smallest[decision] = min(margin, smallest.get(decision, margin))
        return Alignment(
            overlap=self.decisions.count("overlap"),
            spectrum=self.decisions.count("spectrum"),
            kept=self.decisions.count("kept"),
            min_overlap_margin=smallest.get("overlap"),
            min_spectrum_margin_db=smallest.get("spectrum"),
        )

    def _choose_order(
        self,
        overlap: Samples,
        spectra: Array,
        weights: Array,
    ) -> Sequence[int]:
        for decision, scores, min_margin in (
            ("overlap", self._correlate(overlap), _MIN_OVERLAP_MARGIN),
            ("spectrum", self._compare(spectra, weights), _MIN_SPECTRUM_MARGIN_DB),
        ):
            order, margin = best_order(scores)
            if margin >= min_margin:
                self.decisions.append(decision)  # type: ignore[arg-type]
                self.margins.append(margin)
                return order
        self.decisions.append("kept")
        self.margins.append(0.0)
        return range(len(overlap))

    def _correlate(self, overlap: Samples) -> Array:
        """[sources, sources]: the correlation of each output before with each one now."""
        assert self._overlap is not None
        before, now = (
            self._frames(part.mean(axis=2)).astype(np.float64) for part in (self._overlap, overlap)
        )
        audible = self._audible(_level_db(before.sum(axis=0))) & self._audible(
            _level_db(now.sum(axis=0))
        )
        if audible.sum() < _MIN_FRAMES:
            return np.zeros((len(before), len(now)))
        before, now = before[:, audible], now[:, audible]
        scale = np.sqrt((before**2).sum() * (now**2).sum())
        correlation: Array = np.einsum("ifn,jfn->ij", before, now) / max(scale, 1e-12)
        return correlation

    def _compare(self, spectra: Array, weights: Array) -> Array:
        """[sources, sources]: how far each spectrum so far is from each one now, in dB, below 0."""
        assert self._spectra is not None
        assert self._weights is not None
        known = self._weights >= _MIN_FRAMES
        if not known.all():
            return np.zeros((len(spectra), len(spectra)))
        differences = self._spectra[:, np.newaxis] - spectra[np.newaxis]
        distance_db: Array = np.sqrt((differences**2).mean(axis=2))
        return -distance_db * (weights >= _MIN_FRAMES)

    def _describe(self, signals: Samples) -> tuple[Array, Array]:
        """The spectrum of each output in dB, without its level, and how many frames it is of."""
        frames = self._frames(signals)
        levels_db = _level_db(frames)
        self._loudest_db = max(self._loudest_db, levels_db.max(initial=-np.inf))
        power = np.abs(scipy.fft.rfft(frames * np.hanning(self._frame_length))) ** 2
        bands_db = 10 * np.log10(power @ self._bands.T + 1e-10)
        bands_db -= bands_db.mean(axis=-1, keepdims=True)
        spectra = np.zeros((len(signals), len(self._bands)))
        weights = np.zeros(len(signals))
        for index, level_db in enumerate(levels_db):
            others_db = np.delete(levels_db, index, axis=0).max(axis=0, initial=-np.inf)
            clear = self._audible(level_db) & (level_db - others_db > _DOMINANCE_DB)
            weights[index] = clear.sum()
            if weights[index]:
                spectra[index] = bands_db[index, clear].mean(axis=0)
        return spectra, weights

    def _remember(self, spectra: Array, weights: Array) -> None:
        if self._spectra is None or self._weights is None:
            self._spectra, self._weights = spectra, weights
            return
        total = self._weights + weights
        share = np.divide(weights, total, out=np.zeros_like(total), where=total > 0)
        self._spectra = self._spectra + share[:, np.newaxis] * (spectra - self._spectra)
        self._weights = np.minimum(total, self._memory_frames)

    def _frames(self, signals: Samples) -> Samples:
        """[sources, frames, samples]."""
        num_frames = signals.shape[1] // self._frame_length
        return signals[:, : num_frames * self._frame_length].reshape(
            len(signals), num_frames, self._frame_length
        )

    def _audible(self, levels_db: Array) -> npt.NDArray[np.bool_]:
        return levels_db > max(self._loudest_db + _GATE_DB, _FLOOR_DBFS)


def best_order(scores: Array) -> tuple[Sequence[int], float]:
    """The order with the highest sum of scores, and how far the next best one is below it.

    Args:
        scores: [sources, sources]: for each place, how well each output fits it.
    """
    places = range(len(scores))
    ranked = sorted(
        ((sum(scores[place, output] for place, output in zip(places, order, strict=True)), order))
        for order in itertools.permutations(places)
    )
    if len(ranked) < 2:
        return ranked[0][1], 0.0
    return ranked[-1][1], float(ranked[-1][0] - ranked[-2][0])


def _level_db(frames: npt.NDArray[Any]) -> Array:
    power = np.square(frames, dtype=np.float64).mean(axis=-1)
    return 10 * np.log10(power + 1e-12)  # type: ignore[no-any-return]


def _band_weights(frame_length: int, sample_rate: int) -> Array:
    """[bands, bins]: triangles, evenly spaced on the mel scale (O'Shaughnessy) from 80 Hz."""
    top_hz = min(sample_rate / 2, 8000)
    edges_mel = np.linspace(
        1127 * np.log1p(80 / 700), 1127 * np.log1p(top_hz / 700), _NUM_BANDS + 2
    )
    edges_hz = 700 * np.expm1(edges_mel / 1127)
    bins_hz = np.fft.rfftfreq(frame_length, 1 / sample_rate)
    rise = (bins_hz - edges_hz[:-2, np.newaxis]) / np.diff(edges_hz)[:-1, np.newaxis]
    fall = (edges_hz[2:, np.newaxis] - bins_hz) / np.diff(edges_hz)[1:, np.newaxis]
    return np.clip(np.minimum(rise, fall), 0, None)  # type: ignore[no-any-return]

"""Keeping each speaker in one output, where a joint model's outputs swap from window to window.

Two windows that overlap are tied together by correlation, in the frames of the overlap that are
audible. A pause as long as the overlap cuts the tie, and a new stretch of windows begins, tied
among themselves. The speakers of a new stretch are recognised by the long-term spectra that the
speakers have had so far. A few words are not enough for that, so a stretch is held back until it is
long enough, for a few windows at most. Where neither decides, the order is kept.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.fft

from beam_jobs.separation.windows import Framing
from schemas.ledger import Alignment
from schemas.pcm import Samples
from scoring.permutations import best_permutation

Array = npt.NDArray[np.float64]
Decision = Literal["overlap", "spectrum", "kept"]

_FRAME_S = 0.032
_NUM_BANDS = 24
# Fewer audible frames than this decide nothing, in an overlap and in a spectrum.
_MIN_OVERLAP_FRAMES = 4
_MIN_SPECTRUM_FRAMES = 12
# A stretch is held back until it has this many such frames, or this many windows.
_ENOUGH_SPECTRUM_FRAMES = 100
_MAX_HELD_WINDOWS = 4
# A frame is audible if it is above this level, not too far below the loudest frame so far, and
# clearly above the noise between words, which is estimated from the softest fifth of a window.
_FLOOR_DBFS = -65.0
_BELOW_LOUDEST_DB = 40.0
_ABOVE_NOISE_DB = 12.0
_NOISE_PERCENTILE = 20
# A frame this close to the loudest one is audible, however loud the noise seems to be.
_ALWAYS_AUDIBLE_DB = 15.0
# A frame counts towards a speaker's spectrum if the other outputs are at least this much softer.
_DOMINANCE_DB = 10.0
# The margin of an overlap is the difference of two correlations, so 2 at most.
_MIN_OVERLAP_MARGIN = 0.1
_MIN_SPECTRUM_MARGIN_DB = 0.25
# Spectra forget what is older: a speaker's voice and line change over long files.
_MEMORY_S = 120.0


class _Spectra:
    """The mean spectrum of each of several signals, over the last frames that count for it."""

    def __init__(self, memory_frames: float) -> None:
        self._memory_frames = memory_frames
        self.mean_db: Array = np.zeros((0, 0))
        self.weights: Array = np.zeros(0)

    def add(self, spectra_db: Array, weights: Array) -> None:
        """Adds spectra, in dB [signals, bands], each the mean of as many frames as its weight."""
        if not self.weights.size:
            self.mean_db, self.weights = spectra_db, weights
            return
        total = self.weights + weights
        share = np.divide(weights, total, out=np.zeros_like(total), where=total > 0)
        self.mean_db = self.mean_db + share[:, np.newaxis] * (spectra_db - self.mean_db)
        self.weights = np.minimum(total, self._memory_frames)

    def compare(self, others: "_Spectra") -> Array:
        """Returns how alike each of these and each of the others is: the negative distance in dB.

        Returns:
            float64 [signals, other signals], at most 0. All is 0 if any of these rests on too few
            frames, and so is the column of each of the others that does.
        """
        distance_db: Array = np.sqrt(
            ((self.mean_db[:, np.newaxis] - others.mean_db[np.newaxis]) ** 2).mean(axis=2)
        )
        known = (self.weights >= _MIN_SPECTRUM_FRAMES).all()
        return -distance_db * (others.weights >= _MIN_SPECTRUM_FRAMES) * known


class Aligner:
    """Puts the outputs of one signal's windows in the order of the first window's.

    Attributes:
        decisions: the decisions so far, one for each window but the first, in the order in which
            they were made.
        margins: how much better than the next best order the chosen one was in each decision: in
            correlation (0 to 2) for `overlap`, in dB for `spectrum`, 0 for `kept`.
    """

    def __init__(self, framing: Framing, sample_rate: int) -> None:
        self._framing = framing
        self._frame_length = max(16, round(_FRAME_S * sample_rate))
        self._bands = _band_weights(self._frame_length, sample_rate)
        self._loudest_db = _FLOOR_DBFS
        self._noise_db = np.inf
        self._before: Samples | None = None
        self._speakers = _Spectra(_MEMORY_S / _FRAME_S)
        # The present stretch, whose windows are in an order of their own while it is held back.
        self._held: list[Samples] = []
        self._stretch = _Spectra(np.inf)
        # The permutation that puts the present stretch in the order of the first window.
        self._order: Sequence[int] | None = None
        self.decisions: list[Decision] = []
        self.margins: list[float] = []

    def align(self, output: Samples) -> list[Samples]:
        """Takes the next window's outputs.

        Args:
            output: float32 [sources, length, channels].

        Returns:
            The windows whose order is decided now, each like `output`, in their own sequence: none,
            this one, or several that were held back.
        """
        trusted = output[:, self._framing.context : self._framing.length - self._framing.context]
        spectra, weights = self._describe(trusted.mean(axis=2))
        if self._before is None:
            self._order = range(len(output))
            self._speakers.add(spectra, weights)
            self._before = output[:, self._framing.overlap_before]
            return [output]
        order, margin = best_permutation(self._correlate(output[:, self._framing.overlap]).T)
        done: list[Samples] = []
        if margin >= _MIN_OVERLAP_MARGIN:
            chosen = list(order)
            output, spectra, weights = output[chosen], spectra[chosen], weights[chosen]
            self._decide("overlap", margin)
        else:
            done = self.flush()
            self._order = None
            self._stretch = _Spectra(np.inf)
        self._before = output[:, self._framing.overlap_before]
        if self._order is not None:
            chosen = list(self._order)
            self._speakers.add(spectra[chosen], weights[chosen])
            return [*done, output[chosen]]
        self._held.append(output)
        self._stretch.add(spectra, weights)
        enough = self._stretch.weights.max() >= _ENOUGH_SPECTRUM_FRAMES
        if enough or len(self._held) >= _MAX_HELD_WINDOWS:
            done += self.flush()
        return done

    def flush(self) -> list[Samples]:
        """Decides on the windows that are held back; call it after the last window.

        Returns:
            As `align`.
        """
        if not self._held:
            return []
        order, margin = best_permutation(self._speakers.compare(self._stretch).T)
        if margin >= _MIN_SPECTRUM_MARGIN_DB:
            self._decide("spectrum", margin)
        else:
            order = tuple(range(len(self._held[0])))
            self._decide("kept", 0.0)
        self._order = order
        chosen = list(order)
        self._speakers.add(self._stretch.mean_db[chosen], self._stretch.weights[chosen])
        done = [output[chosen] for output in self._held]
        self._held = []
        return done

    def _decide(self, decision: Decision, margin: float) -> None:
        self.decisions.append(decision)
        self.margins.append(margin)

    def summary(self) -> Alignment:
        """Summarises the decisions for the ledger."""
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

    def _correlate(self, overlap: Samples) -> Array:
        """Correlates each output of the window before with each output of this one, in the overlap.

        Returns:
            float64 [outputs before, outputs now]; 0 if too few frames are audible.
        """
        assert self._before is not None
        before, now = (
            self._frames(part.mean(axis=2)).astype(np.float64) for part in (self._before, overlap)
        )
        audible = self._audible(_level_db(before.sum(axis=0))) & self._audible(
            _level_db(now.sum(axis=0))
        )
        if audible.sum() < _MIN_OVERLAP_FRAMES:
            return np.zeros((len(before), len(now)))
        before, now = before[:, audible], now[:, audible]
        scale = np.sqrt((before**2).sum() * (now**2).sum())
        correlation: Array = np.einsum("ifn,jfn->ij", before, now) / max(scale, 1e-12)
        return correlation

    def _describe(self, signals: Samples) -> tuple[Array, Array]:
        """Describes how each output sounds.

        Args:
            signals: float32 [outputs, samples].

        Returns:
            The mean spectrum of each output in dB, without its level, [outputs, bands], and the
            number of frames that it is the mean of.
        """
        frames = self._frames(signals)
        levels_db = _level_db(frames)
        self._loudest_db = max(self._loudest_db, levels_db.max(initial=-np.inf))
        mixture_db = _level_db(frames.sum(axis=0))
        softest_db = float(np.percentile(mixture_db, _NOISE_PERCENTILE))
        self._noise_db = min(self._noise_db, softest_db)
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

    def _frames(self, signals: Samples) -> Samples:
        """Cuts float32 [outputs, samples] into [outputs, frames, samples]; a rest is left out."""
        num_frames = signals.shape[1] // self._frame_length
        return signals[:, : num_frames * self._frame_length].reshape(
            len(signals), num_frames, self._frame_length
        )

    def _audible(self, levels_db: Array) -> npt.NDArray[np.bool_]:
        noise_gate_db = min(self._noise_db + _ABOVE_NOISE_DB, self._loudest_db - _ALWAYS_AUDIBLE_DB)
        gate_db = max(_FLOOR_DBFS, self._loudest_db - _BELOW_LOUDEST_DB, noise_gate_db)
        return levels_db > gate_db


def _level_db(frames: npt.NDArray[Any]) -> Array:
    power = np.square(frames, dtype=np.float64).mean(axis=-1)
    return 10 * np.log10(power + 1e-12)  # type: ignore[no-any-return]


def _band_weights(frame_length: int, sample_rate: int) -> Array:
    """Returns triangular bands, evenly spaced on O'Shaughnessy's mel scale from 80 Hz to 8 kHz.

    Returns:
        float64 [bands, bins]; the last band ends at half the sample rate if that is below 8 kHz.
    """
    top_hz = min(sample_rate / 2, 8000)
    edges_mel = np.linspace(
        1127 * np.log1p(80 / 700), 1127 * np.log1p(top_hz / 700), _NUM_BANDS + 2
    )
    edges_hz = 700 * np.expm1(edges_mel / 1127)
    bins_hz = np.fft.rfftfreq(frame_length, 1 / sample_rate)
    rise = (bins_hz - edges_hz[:-2, np.newaxis]) / np.diff(edges_hz)[:-1, np.newaxis]
    fall = (edges_hz[2:, np.newaxis] - bins_hz) / np.diff(edges_hz)[1:, np.newaxis]
    return np.clip(np.minimum(rise, fall), 0, None)  # type: ignore[no-any-return]

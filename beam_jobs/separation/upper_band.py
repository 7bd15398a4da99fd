"""The upper band: what a recording loses at the model's rate is given back to its speakers.

Whatever resampling to the model's rate and back takes away from a recording is shared by masks
among the outputs. A small network finds them, from the energies of the outputs below and of the
recording above. It works on the finished outputs, in the order of the voices, in windows of its
own, so that memory does not depend on the length.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import scipy.fft
import soxr

from beam_jobs.runtime.workarounds import import_tensorflow
from beam_jobs.separation.finished_windows import cut_together, framing_at
from beam_jobs.separation.models import Model
from beam_jobs.separation.saved_model import load_signature
from beam_jobs.separation.spectra import analyse, synthesise
from beam_jobs.separation.tensorflow_lock import ONE_AT_A_TIME
from beam_jobs.separation.windows import OverlapAdd
from schemas.bundle import UPPER_BAND, UpperBand
from schemas.pcm import Samples

Shares = npt.NDArray[np.float32]
"""For each output, the share of each band that is its own, 0 to 1."""


class UpperBandSharer:
    """The upper band's network, loaded. Threads may share it, as they share a `Separator`."""

    def __init__(self, model: Model, upper: UpperBand, folder: str) -> None:
        """Loads the network.

        Args:
            model: the description of the model that it belongs to.
            upper: its own description.
            folder: a local folder with the model's files.

        Raises:
            ModelError: the SavedModel is damaged, or can't be called.
        """
        self._tf = import_tensorflow()
        self._model_rate = model.sample_rate
        self._upper = upper
        # Keep the SavedModel: its functions do not outlive it.
        self._saved_model, self._signature = load_signature(model, folder, UPPER_BAND)

    def widen(
        self,
        blocks: Iterable[Samples],
        recording: Iterable[Samples],
        sample_rate: int,
        num_frames: int,
    ) -> Iterator[tuple[Samples, bool]]:
        """Adds the upper band to the outputs of a recording.

        Args:
            blocks: the outputs at the model's rate, float32 [sources, samples, channels].
            recording: the recording, float32 [samples, channels].
            sample_rate: of the recording, in Hz, above the model's.
            num_frames: the length of the recording.

        Yields:
            The outputs at the rate of the recording, float32 [sources, samples, channels], and
            whether it is the last block.
        """
        join = OverlapAdd(framing_at(sample_rate), num_frames)
        rates = (self._model_rate, sample_rate)
        for outputs, window, last in cut_together(blocks, recording, rates, num_frames):
            channels = zip(outputs.transpose(2, 0, 1), window.T, strict=True)
            wide = [
                self._widen_channel(np.ascontiguousarray(own), one, sample_rate)
                for own, one in channels
            ]
            yield join.add(np.stack(wide, axis=2)), last

    def _widen_channel(self, outputs: Samples, window: Samples, sample_rate: int) -> Samples:
        """Returns the outputs of a window of one channel, float32 [sources, samples].

        Args:
            outputs: at the model's rate, float32 [sources, samples].
            window: of the recording, float32 [samples].
            sample_rate: of the recording, in Hz.
        """
        below = _resample(window[np.newaxis], sample_rate, self._model_rate)
        lost = window - _resample(below, self._model_rate, sample_rate)[0]
        shares = self._share(
            _resample(lost[np.newaxis], sample_rate, self._upper.sample_rate), outputs
        )
        return _resample(outputs, self._model_rate, sample_rate) + apply_shares(
            lost, shares, self._upper, sample_rate
        )

    def _share(self, lost: Samples, outputs: Samples) -> Shares:
        """Returns float32 [sources, frames, bands]."""
        with ONE_AT_A_TIME:
            shares = self._signature(
                upper=self._tf.constant(lost), sources=self._tf.constant(outputs[np.newaxis])
            )["shares"]
        return shares.numpy()[0]  # type: ignore[no-any-return]


def apply_shares(lost: Samples, shares: Shares, upper: UpperBand, sample_rate: int) -> Samples:
    """Gives each output its share of a signal.

    Args:
        lost: what is shared, float32 [samples].
        shares: float32 [sources, frames, bands]: the frames are a step apart, from sample 0 on.
        upper: with the bands and the step.
        sample_rate: of the signal, in Hz.

    Returns:
        float32 [sources, samples].
    """
    step = round(upper.step_s * sample_rate)
    spectra = analyse(lost, step)
    positions = np.arange(len(spectra)) * step / (upper.step_s * sample_rate)
    bins_hz = scipy.fft.rfftfreq(2 * step, 1 / sample_rate)
    masks = _at_frames(shares, positions) @ _spread(upper.edges_hz, bins_hz)
    return synthesise(spectra * masks, step, len(lost))


def _at_frames(shares: Shares, positions: npt.NDArray[np.float64]) -> Shares:
    """Interpolates shares in time, at positions that count frames."""
    positions = np.clip(positions, 0, shares.shape[1] - 1)
    before = np.floor(positions).astype(int)
    after = np.minimum(before + 1, shares.shape[1] - 1)
    weight = (positions - before).astype(np.float32)[:, np.newaxis]
    at_frames: Shares = shares[:, before] * (1 - weight) + shares[:, after] * weight
    return at_frames


def _spread(edges_hz: tuple[float, ...], bins_hz: npt.NDArray[np.float64]) -> Samples:
    """Returns how much of each band's share a bin gets, float32 [bands, bins].

    Shares are those of the bands' middles, and of what is in between by their distance.
    """
    edges = np.array(edges_hz)
    middles = (edges[:-1] + edges[1:]) / 2
    ones = np.eye(len(middles))
    return np.stack([np.interp(bins_hz, middles, one) for one in ones]).astype(np.float32)


def _resample(signals: Samples, from_rate: int, to_rate: int) -> Samples:
    """Resamples windows, float32 [signals, samples], that last whole seconds."""
    if from_rate == to_rate:
        return signals
    return np.ascontiguousarray(soxr.resample(signals.T, from_rate, to_rate).T)

"""Spectra and the energies in their bands."""

import numpy as np
import tensorflow as tf

from schemas.bundle import Provenance, UpperBand
from schemas.pcm import Samples


def spaced_hz(low_hz: float, high_hz: float, number: int) -> tuple[float, ...]:
    """Returns the edges of bands that are evenly spaced on the mel scale."""
    low, high = (1127 * np.log1p(hz / 700) for hz in (low_hz, high_hz))
    edges = 700 * np.expm1(np.linspace(low, high, number + 1) / 1127)
    return tuple(float(round(hz)) for hz in edges)


def spectra(waveform: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """Returns spectra of which each is centred on a multiple of the step.

    Args:
        waveform: float32 [..., samples].
        sample_rate: in Hz.

    Returns:
        complex64 [..., frames, bins].
    """
    step = round(BANDS.step_s * sample_rate)
    around = [[0, 0]] * (len(waveform.shape) - 1) + [[step, step]]
    window = np.sqrt(np.hanning(2 * step + 1)[:-1]).astype(np.float32)
    frames = tf.signal.frame(tf.pad(waveform, around), 2 * step, step) * window
    return tf.signal.rfft(frames) / np.sqrt(np.sum(window**2))


def band_weights(edges_hz: tuple[float, ...], num_bins: int, sample_rate: int) -> Samples:
    """Returns which bin is in which band, float32 [bins, bands]; the last band has no upper end."""
    hz = np.linspace(0, sample_rate / 2, num_bins)
    bands = np.digitize(hz, edges_hz[:-1]) - 1
    weights: Samples = (bands[:, np.newaxis] == np.arange(len(edges_hz) - 1)).astype(np.float32)
    return weights


def energies(waveform: tf.Tensor, sample_rate: int, edges_hz: tuple[float, ...]) -> tf.Tensor:
    """Returns the energies of signals [..., samples] in bands, float32 [..., frames, bands]."""
    found = spectra(waveform, sample_rate)
    power = tf.math.real(found) ** 2 + tf.math.imag(found) ** 2
    return tf.matmul(power, band_weights(edges_hz, power.shape[-1], sample_rate))


BANDS = UpperBand(
    sample_rate=16000,
    step_s=0.016,
    edges_hz=spaced_hz(3600, 8000, 12),
    provenance=Provenance("", "", 0, ""),
)
"""The bands that are shared. Below 3.65 kHz, resampling to 8 kHz takes nothing away."""

LOWER_EDGES_HZ = spaced_hz(80, 4000, 16)
"""The bands in which the outputs are described."""

"""What becomes of a mixture on its way to a listener: bands, clipping, automatic gain, codecs."""

import math
from collections.abc import Sequence

import numpy as np

from beam_jobs.audio.codecs import through_codec
from beam_jobs.rendering.signals import peak
from beam_jobs.runtime.workarounds import import_scipy_signal
from schemas.pcm import Pcm, Samples, to_pcm, to_samples
from schemas.transmission import AutomaticGain, Band, Clipping, Codec, Step

_signal = import_scipy_signal()

# A filter's response falls from 1 to nothing, -60 dB, within so many Hz, and is halved at the edge.
_TRANSITION_HZ, _STOPBAND_DB = 100.0, 60.0

# An automatic gain follows the level of about the last third of a second, but not into pauses, and
# changes nothing by more than 30 dB.
_STRETCH_S, _MEMORY_S = 0.01, 0.3
_PAUSE_DBFS, _MAX_GAIN_DB = -55.0, 30.0


def transmit(mixture: Pcm, steps: Sequence[Step], sample_rate: int) -> Pcm:
    """Sends a mixture through the steps of a channel.

    Args:
        mixture: int16 [samples].
        steps: in order.
        sample_rate: in Hz.

    Returns:
        int16 [samples], each where it was in the mixture: delays are removed.
    """
    samples = to_samples(mixture)
    for step in steps:
        samples = _apply(step, samples, sample_rate)
    return to_pcm(samples)


def _apply(step: Step, samples: Samples, sample_rate: int) -> Samples:
    if isinstance(step, Codec):
        return through_codec(samples, sample_rate, step)
    if isinstance(step, Band):
        return limit_band(samples, step, sample_rate)
    if isinstance(step, Clipping):
        return clip(samples, step)
    return follow_level(samples, step, sample_rate)


def limit_band(samples: Samples, band: Band, sample_rate: int) -> Samples:
    """Leaves the frequencies of a band, without a delay at any of them.

    What is above half the sample rate is no limit, and 0 Hz is none.
    """
    edges = [edge for edge in (band.low_hz, band.high_hz) if 0 < edge < sample_rate / 2]
    if not edges:
        return samples
    num_taps, beta = _signal.kaiserord(_STOPBAND_DB, 2 * _TRANSITION_HZ / sample_rate)
    # With an even number of taps the delay would be half a sample off.
    taps = _signal.firwin(
        num_taps | 1, edges, window=("kaiser", beta), pass_zero=band.low_hz not in edges,
        fs=sample_rate,
    ).astype(np.float32)  # fmt: skip
    limited: Samples = _signal.oaconvolve(samples, taps, mode="same")
    return limited


def clip(samples: Samples, clipping: Clipping) -> Samples:
    """Cuts off what is higher than the peak less some dB, as an input that is driven too far."""
    highest = peak(samples) * 10 ** (-clipping.below_peak_db / 20)
    return np.clip(samples, -highest, highest)


def follow_level(samples: Samples, automatic: AutomaticGain, sample_rate: int) -> Samples:
    """Changes the gain all the time, so that the speech comes to a level."""
    size = round(_STRETCH_S * sample_rate)
    stretches = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
    asked = 10 ** (automatic.level_dbfs / 10)
    greatest = 10 ** (_MAX_GAIN_DB / 20)
    power = asked
    gains = [1.0]
    for new in (np.einsum("ij,ij->i", stretches, stretches) / size).tolist():
        if new > 10 ** (_PAUSE_DBFS / 10):
            power += (new - power) * _STRETCH_S / _MEMORY_S
        gains.append(min(max(math.sqrt(asked / power), 1 / greatest), greatest))
    places = np.arange(len(gains)) * size
    gain = np.interp(np.arange(len(samples)), places, gains)
    return samples * gain.astype(np.float32)

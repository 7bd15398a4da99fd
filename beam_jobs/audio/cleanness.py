"""How clean a recording of speech is: bandwidth, noise, clipping, and how much of it is speech.

Everything is estimated from the recording alone, at its own sample rate.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import (
    FRAME_S,
    SILENCE_DBFS,
    find_active,
    find_stretches,
    frame_levels_db,
)
from schemas.pcm import Samples

# Even of fluent speech, a frame in ten is between words and has nothing but noise. With white noise
# 0 to 20 dB below LibriSpeech, the estimate is off by 0.4 dB on average; with less, what recordings
# have of their own counts as well. A noise that comes and goes is taken for less than it is: people
# who talk, for 7 dB less at 0 dB, and 2 dB less at 20 dB. WADA-SNR (Kim and Stern, 2008) is further
# off with the same white noise: one utterance in ten by 1.5 dB or more at 0 dB, and by 9 dB at 20.
_NOISE_PERCENTILE = 10
# Codecs and editors leave frames of digital silence, which say nothing of the noise.
_DIGITAL_SILENCE_DBFS = -90.0
# Frames of a steady noise hardly ever are so far above it.
_OVER_NOISE_DB = 4.0

# Enough frames to meet all sounds of a voice; more of them would take time and tell no more.
_MAX_SPECTRA = 200
_SPECTRUM_S = 0.032
# Fricatives, which alone reach the highest frequencies, are one frame in ten; clicks are rarer.
_LOUD_PERCENTILE = 95
_SMOOTHED_HZ = 300.0
# Above its lowest harmonics, nothing in speech falls so steeply; filters and codecs do.
_LOWEST_EDGE_HZ = 1000.0
_EDGE_DB = 20.0
_EDGE_WIDTH = 0.08
_MIN_EDGE_WIDTH_HZ = 200.0

# Rates from which recordings are made larger, in Hz. Without a filter, what is above half of one is
# the mirror image of what is below: so far from there, both are compared.
_SMALLER_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000)
_COMPARED_HZ = np.arange(100.0, 1000.0, 90.0)
# How far their phases agree, from 0 to 1: of LibriSpeech that was made larger, 0.77 or more, and
# 0.37 after MP3 of 32 or Opus of 24 kbit/s; of 1,300 recordings of five corpora, 0.22 or less.
_ALIKE = 0.3
_LEAST_SPECTRA = 20

_FULL_SCALE = 0.999
# A flat top: so many samples in a row at the peak, to within this share of it. The tops of soft
# recordings are flat because 16 bits are too coarse for them.
_FLAT_RUN = 3
_FLAT_SHARE = 1e-4
_LEAST_PEAK = 0.01


@dataclasses.dataclass(frozen=True, slots=True)
class Cleanness:
    """Measures of a recording of speech.

    Attributes:
        bandwidth_hz: up to which the recording has sound, in Hz; half the sample rate where nothing
            has cut it off.
        snr_db: the power of the speech over that of the noise, both over the whole recording but
            for digital silence; minus infinity where there is no more than noise.
        clipped_share: the share of samples at full scale, or in flat tops below it.
        speech_share: the share of the time in which someone speaks, pauses within a sentence
            included.
    """

    bandwidth_hz: float
    snr_db: float
    clipped_share: float
    speech_share: float


def measure_cleanness(samples: Samples, sample_rate: int) -> Cleanness:
    """Measures a recording of speech.

    Args:
        samples: float32 [samples], full scale at 1.
        sample_rate: in Hz.
    """
    frame_length = max(round(FRAME_S * sample_rate), 1)
    levels_db = frame_levels_db(samples[np.newaxis], frame_length)
    noise_dbfs, snr_db = _separate_noise(levels_db[0])
    active = find_active(levels_db)[0] & (levels_db[0] > noise_dbfs + _OVER_NOISE_DB)
    # Of a noise alone, or of speech that is clipped to its noise, everything there is.
    measured = active if active.any() else levels_db[0] > _DIGITAL_SILENCE_DBFS
    num_spoken = sum(stop - start for start, stop in find_stretches(active))
    return Cleanness(
        bandwidth_hz=_bandwidth_hz(samples, sample_rate, np.flatnonzero(measured) * frame_length),
        snr_db=snr_db,
        clipped_share=_clipped_share(samples),
        speech_share=num_spoken / max(len(active), 1),
    )


def _separate_noise(levels_db: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Estimates the level of the noise in dBFS, and the signal-to-noise ratio in dB.

    Args:
        levels_db: of each frame, in dBFS, [frames].
    """
    heard_db = levels_db[levels_db > _DIGITAL_SILENCE_DBFS]
    if not len(heard_db):
        return SILENCE_DBFS, -math.inf
    noise_dbfs = float(np.percentile(heard_db, _NOISE_PERCENTILE))
    # Speech and noise are independent, so that their powers add up.
    ratio = np.mean(10 ** ((heard_db.astype(np.float64) - noise_dbfs) / 10)) - 1
    return noise_dbfs, 10 * math.log10(ratio) if ratio > 0 else -math.inf


def _bandwidth_hz(samples: Samples, sample_rate: int, starts: npt.NDArray[np.int64]) -> float:
    """Finds the highest frequency behind which the spectrum of loud sounds falls off for good.

    Args:
        samples: float32 [samples].
        sample_rate: in Hz.
        starts: of the frames in which someone speaks, or of all where nobody does.
    """
    length = 1 << math.ceil(math.log2(_SPECTRUM_S * sample_rate))
    starts = starts[starts + length <= len(samples)]
    if not len(starts):
        return sample_rate / 2
    starts = starts[:: -(-len(starts) // _MAX_SPECTRA)]
    frames = samples[starts[:, np.newaxis] + np.arange(length)]
    frames *= np.hanning(length).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames)))
    loud = np.percentile(power, _LOUD_PERCENTILE, axis=0)
    hz = sample_rate / length
    # The median of neighbours: a tone of a device reaches beyond an edge, and is no speech.
    reach = round(_SMOOTHED_HZ / hz / 2)
    padded = np.pad(loud, reach, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=1)
    spectrum_db = 10 * np.log10(smooth + 1e-12 * smooth.max())
    highest_above_db = np.maximum.accumulate(spectrum_db[::-1])[::-1]
    numbers = np.arange(len(spectrum_db))
    widths = np.maximum(_EDGE_WIDTH * numbers, _MIN_EDGE_WIDTH_HZ / hz)
    above = numbers + np.ceil(widths).astype(np.int64)
    inside = above < len(spectrum_db)
    falls = spectrum_db[inside] - highest_above_db[above[inside]] >= _EDGE_DB
    edges_hz = np.flatnonzero(falls) * hz
    edges_hz = edges_hz[edges_hz >= _LOWEST_EDGE_HZ]
    edge_hz = float(edges_hz[-1]) if len(edges_hz) else sample_rate / 2
    return next(_find_mirrors(frames, starts, sample_rate, edge_hz), edge_hz)


def _find_mirrors(
    frames: Samples, starts: npt.NDArray[np.int64], sample_rate: int, edge_hz: float
) -> Iterator[float]:
    """Yields each frequency below an edge above which the spectrum mirrors what is below it.

    Args:
        frames: float32 [frames, samples], each faded in and out.
        starts: where each begins, in samples.
        sample_rate: in Hz.
        edge_hz: above which there is no sound.
    """
    for rate in _SMALLER_RATES_HZ if len(frames) >= _LEAST_SPECTRA else ():
        if rate / 2 + _COMPARED_HZ[-1] > edge_hz:
            return
        waves = _waves(rate, sample_rate, frames.shape[1])
        below, above = np.split((frames @ waves.view(np.float32)).view(np.complex64), 2, axis=1)
        # As a wave goes on, its phase and that of its image add up to that of the smaller rate.
        both = below * above * np.exp(-2j * np.pi * rate / sample_rate * starts)[:, np.newaxis]
        # Each frame counts as much as another: of a click alone, all phases agree.
        phases = both / np.maximum(np.abs(both), 1e-30)
        if np.median(np.abs(phases.mean(axis=0))) > _ALIKE:
            yield rate / 2


@functools.cache
def _waves(rate: int, sample_rate: int, length: int) -> npt.NDArray[np.complex64]:
    """Returns waves below half a rate, and behind them their mirror images, [samples, waves]."""
    waves_hz = rate / 2 + np.concatenate([-_COMPARED_HZ, _COMPARED_HZ])
    time_s = np.arange(length) / sample_rate
    waves: npt.NDArray[np.complex64] = np.exp(-2j * np.pi * np.outer(time_s, waves_hz)).astype(
        np.complex64
    )
    return waves


def _clipped_share(samples: Samples) -> float:
    high, low = float(samples.max(initial=0)), float(samples.min(initial=0))
    num_clipped = 0
    for peak, side in ((high, 1), (-low, -1)):
        if peak >= _FULL_SCALE:
            num_clipped += int((samples * side >= _FULL_SCALE).sum())
        elif peak >= _LEAST_PEAK:
            at_top = np.flatnonzero(samples * side >= peak * (1 - _FLAT_SHARE))
            runs = np.split(at_top, np.flatnonzero(np.diff(at_top) > 1) + 1)
            num_clipped += sum(len(run) for run in runs if len(run) >= _FLAT_RUN)
    return num_clipped / max(len(samples), 1)

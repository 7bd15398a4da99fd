"""Levels of signals, and the gains that give the parts of a recipe theirs."""

import math

import numpy as np

from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.rendering.loudness import integrated_loudness_lufs
from schemas.pcm import FULL_SCALE, Samples
from schemas.recipe import Noise, Source

# A 16-bit file can barely hold anything quieter, and no speech is that quiet.
_SILENCE_DBFS = -90.0
# Louder than 16-bit samples that a float file holds unscaled.
_ABSURD_DBFS = 120.0


def rms_level_dbfs(samples: Samples) -> float:
    """Returns the RMS level of a signal in dB, 0 at full scale; minus infinity for silence.

    Args:
        samples: float32 of any shape, full scale at 1.
    """
    power = float(np.vdot(samples, samples)) / max(samples.size, 1)
    return 10 * math.log10(power) if power else -math.inf


def peak(samples: Samples) -> float:
    """Returns the greatest absolute value of a signal; 0 where there are no samples."""
    return float(max(samples.max(initial=0), -samples.min(initial=0)))


def check_level(level_dbfs: float, *, may_be_silent: bool = False) -> None:
    """Refuses a level that no usable recording has.

    Args:
        level_dbfs: the RMS level of the signal.
        may_be_silent: accept silence.

    Raises:
        UnusableAudioError: silence, or samples far beyond full scale.
    """
    if level_dbfs < _SILENCE_DBFS and not may_be_silent:
        raise UnusableAudioError("silence")
    if level_dbfs > _ABSURD_DBFS:
        raise UnusableAudioError("samples far beyond full scale")


def source_gain_db(
    source: Source,
    samples: Samples,
    level_dbfs: float,
    sample_rate: int,
    *,
    may_be_silent: bool = False,
) -> float:
    """Returns the gain that gives a source its level.

    Args:
        source: has the level that is asked for.
        samples: float32 [samples] or [samples, channels], full scale at 1.
        level_dbfs: the RMS level of `samples`.
        sample_rate: in Hz.
        may_be_silent: accept a source without any sound.

    Raises:
        UnusableAudioError: the level is not usable, or too quiet for its loudness to be measured.
    """
    if not len(samples):
        return 0.0
    check_level(level_dbfs, may_be_silent=may_be_silent)
    if source.level_kind == "gain_db":
        return source.level
    if source.level_kind == "rms_dbfs":
        return source.level - level_dbfs
    return source.level - _loudness_lufs(samples, sample_rate)


def noise_gain_db(noise: Noise, samples: Samples, speech: Samples, sample_rate: int) -> float:
    """Returns the gain that gives a noise its level.

    The signal-to-noise ratio is that of the power of the sum of the sources, pauses included, to
    that of the noise, both over the whole mixture, as in torchaudio's `add_noise`.

    Args:
        noise: has the level that is asked for.
        samples: float32 [samples] or [samples, channels], of the noise.
        speech: float32 of the mixture's shape, the sum of the sources in steps of 16-bit PCM.
        sample_rate: in Hz.

    Raises:
        UnusableAudioError: the noise is silent, or too quiet for its loudness to be measured.
    """
    if noise.level_kind == "gain_db":
        return noise.level
    level_dbfs = rms_level_dbfs(samples[: len(speech)])
    check_level(level_dbfs)
    if noise.level_kind == "loudness_lufs":
        return noise.level - _loudness_lufs(samples, sample_rate)
    speech_dbfs = rms_level_dbfs(speech) - 20 * math.log10(FULL_SCALE)
    # Without speech there is no ratio, and the noise stays as it is.
    return speech_dbfs - noise.level - level_dbfs if math.isfinite(speech_dbfs) else 0.0


def _loudness_lufs(samples: Samples, sample_rate: int) -> float:
    loudness_lufs = integrated_loudness_lufs(samples, sample_rate)
    if math.isinf(loudness_lufs):
        raise UnusableAudioError("too quiet for its loudness to be measured")
    return loudness_lufs

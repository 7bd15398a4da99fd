"""Levels of signals, and the gains that give the parts of a recipe theirs."""

import math

from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.rendering.signals import Signal, rms_level_dbfs
from schemas.pcm import FULL_SCALE, Samples
from schemas.recipe import Noise, NoiseEvent, Source

# A 16-bit file can barely hold anything quieter, and no speech is that quiet.
_SILENCE_DBFS = -90.0
# Louder than 16-bit samples that a float file holds unscaled.
_ABSURD_DBFS = 120.0


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


def source_gain_db(source: Source, signal: Signal, *, may_be_silent: bool = False) -> float:
    """Returns the gain that gives a source its level.

    Args:
        source: has the level that is asked for.
        signal: the source.
        may_be_silent: accept a source without any sound.

    Raises:
        UnusableAudioError: the level is not usable, or too quiet for its loudness to be measured.
    """
    if not len(signal):
        return 0.0
    check_level(signal.level_dbfs, may_be_silent=may_be_silent)
    if source.level_kind == "gain_db":
        return source.level
    if source.level_kind == "rms_dbfs":
        return source.level - signal.level_dbfs
    return source.level - _loudness_lufs(signal)


def noise_gain_db(noise: Noise | NoiseEvent, signal: Signal, speech: Samples) -> float:
    """Returns the gain that gives a noise or a noise event its level.

    The signal-to-noise ratio is that of the power of the sum of the sources, pauses included, to
    that of the noise, both over the whole mixture, as in torchaudio's `add_noise`. The power of an
    event is that over the time in which it sounds, as in Kaldi's `wav-reverberate`.

    Args:
        noise: has the level that is asked for.
        signal: the noise, as far as the mixture has it.
        speech: float32 of the mixture's shape, the sum of the sources in steps of 16-bit PCM.

    Raises:
        UnusableAudioError: the noise is silent, or too quiet for its loudness to be measured.
    """
    if noise.level_kind == "gain_db":
        return noise.level
    level_dbfs = rms_level_dbfs(signal.samples[: len(speech)])
    check_level(level_dbfs)
    if noise.level_kind == "loudness_lufs":
        return noise.level - _loudness_lufs(signal)
    speech_dbfs = rms_level_dbfs(speech) - 20 * math.log10(FULL_SCALE)
    # Without speech there is no ratio, and the noise stays as it is.
    return speech_dbfs - noise.level - level_dbfs if math.isfinite(speech_dbfs) else 0.0


def _loudness_lufs(signal: Signal) -> float:
    if math.isinf(signal.loudness_lufs):
        raise UnusableAudioError("too quiet for its loudness to be measured")
    return signal.loudness_lufs

"""Signals, with what has been measured of them."""

import functools
import math
from typing import cast

import numpy as np

from beam_jobs.rendering.loudness import integrated_loudness_lufs
from schemas.pcm import FULL_SCALE, Pcm, Samples, to_samples


class Signal:
    """Audio that mixtures use, measured once for all of them.

    Attributes:
        audio: float32 [samples] or [samples, channels], full scale at 1; or the same in int16.
        sample_rate: in Hz.
    """

    def __init__(self, audio: Samples | Pcm, sample_rate: float) -> None:
        self.audio = audio
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.audio)

    @property
    def num_bytes(self) -> int:
        """The memory that the audio takes."""
        return self.audio.nbytes

    @property
    def samples(self) -> Samples:
        """The audio as float32, full scale at 1."""
        if self.audio.dtype == np.int16:
            return to_samples(cast(Pcm, self.audio))
        return cast(Samples, self.audio)

    @functools.cached_property
    def level_dbfs(self) -> float:
        """The RMS level, as `rms_level_dbfs` has it."""
        return rms_level_dbfs(self.samples)

    @functools.cached_property
    def loudness_lufs(self) -> float:
        """The integrated loudness, as `integrated_loudness_lufs` has it."""
        return integrated_loudness_lufs(self.samples, round(self.sample_rate))

    @functools.cached_property
    def peak(self) -> float:
        """The greatest absolute value, full scale at 1; 0 where there are no samples."""
        scale = FULL_SCALE if self.audio.dtype == np.int16 else 1
        return peak(self.audio) / scale

    def compact(self) -> "Signal":
        """Returns the signal in int16 if that holds it without any error, and else as it is."""
        scaled = self.samples * np.float32(FULL_SCALE)
        # What does not fit wraps around, and then differs.
        with np.errstate(invalid="ignore"):
            pcm = scaled.astype(np.int16)
        return Signal(pcm, self.sample_rate) if np.array_equal(pcm, scaled) else self


def rms_level_dbfs(samples: Samples) -> float:
    """Returns the RMS level of a signal in dB, 0 at full scale; minus infinity for silence.

    Args:
        samples: float32 of any shape, full scale at 1.
    """
    power = float(np.vdot(samples, samples)) / max(samples.size, 1)
    return 10 * math.log10(power) if power else -math.inf


def peak(audio: Samples | Pcm) -> float:
    """Returns the greatest absolute value of a signal; 0 where there are no samples."""
    return float(max(audio.max(initial=0), -float(audio.min(initial=0))))

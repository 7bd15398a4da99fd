"""Loudness according to ITU-R BS.1770, as pyloudnorm measures it."""

import functools
import math
from typing import Any

import numpy as np

from beam_jobs.runtime.workarounds import import_pyloudnorm
from schemas.pcm import Samples

_pyloudnorm = import_pyloudnorm()

# BS.1770 measures blocks of this length; anything shorter has no loudness.
_BLOCK_S = 0.4


def integrated_loudness_lufs(samples: Samples, sample_rate: int) -> float:
    """Measures the integrated loudness of a signal.

    Args:
        samples: float32 [samples] or [samples, channels], full scale at 1.
        sample_rate: in Hz.

    Returns:
        LUFS; minus infinity for a signal that is below the gate of -70 LUFS throughout.
    """
    missing = math.ceil(_BLOCK_S * sample_rate) + 1 - len(samples)
    if missing > 0:
        # Repeated rather than padded with zeros: silence would count as a part of the block.
        samples = np.pad(samples, [(0, missing), *[(0, 0)] * (samples.ndim - 1)], mode="wrap")
    with np.errstate(divide="ignore"):
        return float(_meter(sample_rate).integrated_loudness(samples))


@functools.cache
def _meter(sample_rate: int) -> Any:
    return _pyloudnorm.Meter(sample_rate, block_size=_BLOCK_S)

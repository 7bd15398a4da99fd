"""16-bit PCM, as datasets store audio, and its conversion from and to floats in -1..1."""

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]
Samples = npt.NDArray[np.float32]

FULL_SCALE = 32768
MIN_PCM, MAX_PCM = -FULL_SCALE, FULL_SCALE - 1


def to_samples(pcm: Pcm) -> Samples:
    """Converts int16 of any shape to float32 in -1..1, without any error."""
    return pcm.astype(np.float32) / np.float32(FULL_SCALE)


def to_pcm(samples: Samples) -> Pcm:
    """Rounds float32 of any shape to int16, half to even, and clips what is beyond full scale."""
    scaled = samples * np.float32(FULL_SCALE)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, MIN_PCM, MAX_PCM, out=scaled).astype(np.int16)

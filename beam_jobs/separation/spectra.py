"""Short-time spectra of windows, and windows of them."""

import numpy as np
import numpy.typing as npt
import scipy.fft

from schemas.pcm import Samples

Spectra = npt.NDArray[np.complex64]
"""Complex64 [..., frames, bins]: each frame is two steps long, and centred on a multiple of one."""


def analyse(signals: Samples, step: int) -> Spectra:
    """Returns the spectra of signals, float32 [..., samples]."""
    num_samples = signals.shape[-1]
    num_steps = -(-num_samples // step) + 2
    around = [(0, 0)] * (signals.ndim - 1) + [(step, (num_steps - 1) * step - num_samples)]
    steps = np.pad(signals, around).reshape(*signals.shape[:-1], num_steps, step)
    frames = np.concatenate([steps[..., :-1, :], steps[..., 1:, :]], axis=-1)
    spectra: Spectra = scipy.fft.rfft(frames * _window(step))
    return spectra


def synthesise(spectra: Spectra, step: int, num_samples: int) -> Samples:
    """Returns the signals, float32 [..., samples], that `analyse` gives spectra of."""
    frames = scipy.fft.irfft(spectra, 2 * step) * _window(step)
    steps = frames[..., :-1, step:] + frames[..., 1:, :step]
    signals: Samples = steps.reshape(*steps.shape[:-2], -1)[..., :num_samples]
    return signals


def _window(step: int) -> Samples:
    window: Samples = np.sqrt(np.hanning(2 * step + 1)[:-1]).astype(np.float32)
    return window

"""Recordings whose parts are known."""

import numpy as np
import soundfile


def write_tones(path, duration_s=2.5, sample_rate=8000, num_channels=1, **kwargs):
    """Writes a low tone and a high one; each channel has its own frequencies."""
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    channels = [
        0.3 * np.sin(2 * np.pi * (200 + 50 * channel) * time)
        + 0.1 * np.sin(2 * np.pi * (3000 + 50 * channel) * time)
        for channel in range(num_channels)
    ]
    soundfile.write(path, np.stack(channels, axis=1), sample_rate, **kwargs)
    return path

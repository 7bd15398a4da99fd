"""Spectrograms in which the colour says which source is the loudest."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.signal
from PIL import Image

from schemas.pcm import Pcm

# Silence has the colour of the panel around the picture.
_PANEL_COLOUR = (13, 17, 28)

_SHAPE = (128, 840)
_WINDOW_S = 0.032
_RANGE_DB = 66.0
_MAX_HZ = 8000

# A recording of an hour is not in memory as a whole spectrum.
_FRAMES_AT_ONCE = 2048


def max_frequency_hz(sample_rate: int) -> float:
    """Returns the highest frequency that a spectrogram shows."""
    return min(sample_rate / 2, _MAX_HZ)


Parts = Sequence[tuple[Pcm, str]]
"""The samples of each part of a signal, like the signal's own, and its colour as `#rrggbb`."""


def draw_spectrograms(signals: Sequence[tuple[Pcm, Parts]], sample_rate: int) -> list[bytes]:
    """Draws signals: the level as brightness, and the loudest part at each point as colour.

    All of them share one scale, from the loudest point of any down to 66 dB below it, so that what
    is softer looks softer.

    Args:
        signals: int16 [samples, channels], each with its parts; one part is the signal itself.
        sample_rate: in Hz.

    Returns:
        A PNG file for each.
    """
    max_hz = max_frequency_hz(sample_rate)
    powers = [_spectral_power(signal, sample_rate, max_hz) for signal, _ in signals]
    loudest = max(1.0, *(float(power.max()) for power in powers))
    return [
        _draw(power / loudest, parts, sample_rate)
        for power, (_, parts) in zip(powers, signals, strict=True)
    ]


def _draw(power: npt.NDArray[np.float64], parts: Parts, sample_rate: int) -> bytes:
    """Draws a spectrogram whose power is given relative to the top of the scale."""
    max_hz = max_frequency_hz(sample_rate)
    dominant = np.argmax([_spectral_power(part, sample_rate, max_hz) for part, _ in parts], axis=0)
    level = 1 + 10 * np.log10(np.maximum(power, 10 ** (-_RANGE_DB / 10))) / _RANGE_DB
    # A palette takes one byte a pixel: each part has an equal share of the 256 colours.
    num_shades = 256 // len(parts)
    pixels = dominant * num_shades + np.round(level * (num_shades - 1)).astype(int)
    image = Image.fromarray(pixels[::-1].astype(np.uint8))
    image.putpalette(np.concatenate([_shades(colour, num_shades) for _, colour in parts]).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _spectral_power(audio: Pcm, sample_rate: int, max_hz: float) -> npt.NDArray[np.float64]:
    """Returns the power in each cell of the picture, [frequencies, times], lowest first."""
    window = max(16, round(_WINDOW_S * sample_rate))
    hop = window // 3
    samples = np.pad(audio.T, [(0, 0), (window // 2, window // 2)])
    num_frames = (samples.shape[1] - window) // hop + 1
    stretches = []
    for first in range(0, num_frames, _FRAMES_AT_ONCE):
        last = min(first + _FRAMES_AT_ONCE, num_frames) - 1
        frequencies, _, power = scipy.signal.spectrogram(
            samples[:, first * hop : last * hop + window].astype(np.float64),
            sample_rate,
            "hann",
            nperseg=window,
            noverlap=window - hop,
            mode="psd",
        )
        stretches.append(_reduce(power.mean(axis=0)[frequencies <= max_hz], 0, _SHAPE[0]))
    return _reduce(np.concatenate(stretches, axis=1), 1, _SHAPE[1])


def _reduce(values: npt.NDArray[np.float64], axis: int, max_size: int) -> npt.NDArray[np.float64]:
    """Averages neighbours until an axis is no longer than `max_size`."""
    size = values.shape[axis]
    num = min(size, max_size)
    starts = np.arange(num) * size // num
    sums = np.add.reduceat(values, starts, axis=axis)
    counts = np.diff(np.r_[starts, size])
    means: npt.NDArray[np.float64] = sums / np.expand_dims(counts, 1 - axis)
    return means


def _shades(colour: str, num: int) -> npt.NDArray[np.uint8]:
    """Returns a scale from the panel's colour through another one almost to white, [num, 3]."""
    stops = np.array([_PANEL_COLOUR, tuple(bytes.fromhex(colour[1:])), (255, 255, 255)])
    position = np.linspace(0, 1, num) ** 1.1 * 1.3
    return np.stack(
        [np.interp(position, [0, 1, 2], channel) for channel in stops.T], axis=1
    ).astype(np.uint8)

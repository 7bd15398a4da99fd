"""Placing stretches of sound on the time line of a mixture."""

from collections.abc import Sequence

import numpy as np

from beam_jobs.rendering.signals import Signal, peak
from schemas.pcm import FULL_SCALE, Samples

Stretch = tuple[int, Signal]
"""The sample of the mixture where a stretch of sound starts, and the sound."""


def place(part: Samples, stretches: Sequence[Stretch], gain_db: float) -> float:
    """Writes stretches into a part of a mixture, with silence around them.

    Args:
        part: float32 [samples] or [samples, channels]; gets steps of 16-bit PCM.
        stretches: by their start, ascending; what is beyond the end of the part is cut off.
        gain_db: of all of them.

    Returns:
        The greatest absolute value written.
    """
    gain = np.float32(FULL_SCALE * 10 ** (gain_db / 20))
    end, highest = 0, 0.0
    for start, signal in stretches:
        part[end:start] = 0
        # At another rate than it was drawn for, a stretch may begin in the last sample of another.
        stop = min(start + len(signal), len(part))
        audio = signal.audio[: stop - start]
        # A power of two changes no digit: full scale is where the gain has it, or the samples.
        scale = gain / np.float32(FULL_SCALE) if audio.dtype == np.int16 else gain
        placed = np.multiply(audio, scale, out=part[start:stop])
        whole = len(placed) == len(signal)
        end = max(end, stop)
        highest = max(highest, float(np.float32(signal.peak) * gain) if whole else peak(placed))
    part[end:] = 0
    return highest


def join(signals: Sequence[Signal]) -> Signal:
    """Returns one or more signals of the same rate as one, the same where there is only one."""
    if len(signals) == 1:
        return signals[0]
    return Signal(np.concatenate([one.samples for one in signals]), signals[0].sample_rate)


def join_in_time(stretches: Sequence[Stretch]) -> tuple[int, Samples]:
    """Joins mono stretches into one that starts with the first, with silence between them.

    Args:
        stretches: by their start, ascending; at least one of them has samples.

    Returns:
        The sample where it starts, and float32 [samples].
    """
    heard = [(start, signal.samples) for start, signal in stretches if len(signal)]
    if len(heard) == 1:
        return heard[0]
    first = heard[0][0]
    joined = np.zeros(max(start + len(samples) for start, samples in heard) - first, np.float32)
    for start, samples in heard:
        joined[start - first :][: len(samples)] = samples
    return first, joined

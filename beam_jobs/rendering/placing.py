"""Placing stretches of sound on the time line of a mixture."""

from collections.abc import Sequence

import numpy as np

from beam_jobs.rendering.levels import peak
from schemas.pcm import FULL_SCALE, Samples

Stretch = tuple[int, Samples]
"""The sample of the mixture where a stretch of sound starts, and its samples, full scale at 1."""


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
    for start, samples in stretches:
        part[end:start] = 0
        # At another rate than it was drawn for, a stretch may begin in the last sample of another.
        stop = min(start + len(samples), len(part))
        placed = np.multiply(samples[: stop - start], gain, out=part[start:stop])
        end, highest = max(end, stop), max(highest, peak(placed))
    part[end:] = 0
    return highest


def join(stretches: Sequence[Samples]) -> Samples:
    """Returns one or more signals as one, without a copy where there is only one."""
    if len(stretches) == 1:
        return stretches[0]
    joined: Samples = np.concatenate(stretches)
    return joined


def join_in_time(stretches: Sequence[Stretch]) -> Stretch:
    """Joins mono stretches into one that starts with the first, with silence between them.

    Args:
        stretches: by their start, ascending; at least one of them has samples.
    """
    heard = [(start, samples) for start, samples in stretches if len(samples)]
    if len(heard) == 1:
        return heard[0]
    first = heard[0][0]
    joined = np.zeros(max(start + len(samples) for start, samples in heard) - first, np.float32)
    for start, samples in heard:
        joined[start - first :][: len(samples)] = samples
    return first, joined

"""From float to 16-bit PCM, so that a mixture stays the exact sum of its parts.

All float audio here is float32 in steps of 16-bit PCM, and is overwritten.
"""

from collections.abc import Sequence

import numpy as np

from beam_jobs.rendering.scratch import Scratch
from schemas.pcm import MAX_PCM, MIN_PCM, Pcm, Samples


def common_gain(peak: float, *, is_given: bool) -> float:
    """Returns the factor, 1 or less, with which neither the mixture nor a source clips.

    Args:
        peak: the greatest absolute value in any of them, in steps.
        is_given: the mixture is a recording, which may touch full scale.
    """
    # A recording at full scale stays as it is if 16 bits can hold it.
    if not peak or (is_given and peak <= -MIN_PCM):
        return 1.0
    # Rounding changes a source by one step at the most, and full scale itself looks clipped.
    return min(1.0, (MAX_PCM - 2) / peak)


def quantise_sums(sums: Samples, gain: float, scratch: Scratch) -> tuple[Pcm, Pcm]:
    """Rounds running sums, so that the parts add up to the rounded mixture to the last bit.

    Args:
        sums: float32 [parts, samples] or [parts, samples, channels], each part with those before
            it added to it.
        gain: the common gain.
        scratch: has the result until the next call.

    Returns:
        int16 [parts, samples], each part alone and within one step of the exact one; and int16
        [samples], their sum.
    """
    _round(sums, gain)
    parts_pcm, mixture_pcm = _pcm_arrays(sums, scratch)
    np.copyto(parts_pcm[0], sums[0], casting="unsafe")
    np.subtract(sums[1:], sums[:-1], out=parts_pcm[1:], casting="unsafe")
    np.copyto(mixture_pcm, sums[-1], casting="unsafe")
    return parts_pcm, mixture_pcm


def quantise_given(
    sums: Samples, mixture: Samples, gain: float, scratch: Scratch
) -> tuple[Pcm, Pcm]:
    """Rounds running sums of parts, and the recording that is their mixture.

    Args:
        sums: as for `quantise_sums`.
        mixture: float32 [samples] or [samples, channels].
        gain: the common gain.
        scratch: has the result until the next call.

    Returns:
        int16 [parts, samples], each part alone; and int16 [samples], the recording.
    """
    _round(sums, gain)
    _round(mixture, gain)
    parts_pcm, mixture_pcm = _pcm_arrays(sums, scratch)
    # The difference of two rounded sums at full scale may be one step more than 16 bits hold.
    alone = np.diff(sums, axis=0, prepend=np.float32(0))
    np.copyto(parts_pcm, np.clip(alone, MIN_PCM, MAX_PCM), casting="unsafe")
    np.copyto(mixture_pcm, np.clip(mixture, MIN_PCM, MAX_PCM), casting="unsafe")
    return parts_pcm, mixture_pcm


def quantise_dry(dry: Samples, gain: float, scratch: Scratch) -> Pcm:
    """Rounds the dry sources, float32 [sources, samples], which need not add up to anything."""
    _round(dry, gain)
    dry_pcm = scratch.array("dry_pcm", dry.shape, np.int16)
    np.copyto(dry_pcm, dry, casting="unsafe")
    return dry_pcm


def quantise_enrolments(enrolments: Samples, peaks: Sequence[float], scratch: Scratch) -> Pcm:
    """Rounds enrolments, each with a gain of its own if it would clip.

    Args:
        enrolments: float32 [sources, samples].
        peaks: the greatest absolute value in each of them, in steps.
        scratch: has the result, of the same shape, until the next call.
    """
    for enrolment, peak in zip(enrolments, peaks, strict=True):
        _round(enrolment, common_gain(peak, is_given=False))
    enrolments_pcm = scratch.array("enrolments_pcm", enrolments.shape, np.int16)
    np.copyto(enrolments_pcm, enrolments, casting="unsafe")
    return enrolments_pcm


def _round(samples: Samples, gain: float) -> None:
    if gain < 1:
        np.multiply(samples, np.float32(gain), out=samples)
    np.rint(samples, out=samples)


def _pcm_arrays(sums: Samples, scratch: Scratch) -> tuple[Pcm, Pcm]:
    return (
        scratch.array("parts_pcm", sums.shape, np.int16),
        scratch.array("mixture_pcm", sums.shape[1:], np.int16),
    )

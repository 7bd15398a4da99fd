"""Concealment of lost packets by decoders that get samples and know no more of the speech.

In the manner of ITU-T G.711 Appendix I, simplified: the last period of the pitch is repeated, and
fades away in 60 ms; what comes next fades in.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from schemas.pcm import Samples

# Pitches of 66 to 200 Hz, found by comparing the last 20 ms with what was before.
_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 0.005, 0.015
_COMPARED_S = 0.02
# At its full level for 10 ms, and then a fifth less of it every 10 ms.
_HELD_S, _FADE_S = 0.01, 0.05
_FADE_IN_S = 0.004


def conceal_losses(
    samples: Samples, lost_packets: Sequence[int], packet_s: float, sample_rate: int
) -> Samples:
    """Returns a signal with something plausible in place of its lost packets.

    Args:
        samples: float32 [samples], with everything in it, also what gets lost.
        lost_packets: their numbers, ascending, from 0.
        packet_s: the length of a packet in seconds.
        sample_rate: in Hz.
    """
    concealed = samples.copy()
    num_faded_in = round(_FADE_IN_S * sample_rate)
    for first, last in _runs(lost_packets):
        start = min(round(first * packet_s * sample_rate), len(samples))
        stop = min(round((last + 1) * packet_s * sample_rate), len(samples))
        end = min(stop + num_faded_in, len(samples))
        made_up = _continue(concealed[:start], end - start, sample_rate)
        weight = np.linspace(0, 1, end - stop, endpoint=False, dtype=np.float32)
        concealed[start:stop] = made_up[: stop - start]
        concealed[stop:end] = weight * concealed[stop:end] + (1 - weight) * made_up[stop - start :]
    return concealed


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields the first and the last of each run of consecutive numbers."""
    for _, run in itertools.groupby(enumerate(numbers), key=lambda one: one[1] - one[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]


def _continue(heard: Samples, num_samples: int, sample_rate: int) -> Samples:
    """Returns so many samples that go on as the last period of a signal, and fade away."""
    shortest, longest, compared = (
        round(length_s * sample_rate)
        for length_s in (_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S, _COMPARED_S)
    )
    reach = longest + compared
    recent = np.pad(heard[-reach:], (max(reach - len(heard), 0), 0))
    # The first candidate is the longest period before the end, the last one the shortest.
    candidates = np.lib.stride_tricks.sliding_window_view(recent[: reach - shortest], compared)
    power = np.einsum("ij,ij->i", candidates, candidates)
    likeness = candidates @ recent[-compared:] / np.sqrt(power + 1e-9)
    period = longest - int(np.argmax(likeness))
    time_s = np.arange(num_samples) / sample_rate
    fade = np.clip(1 - (time_s - _HELD_S) / _FADE_S, 0, 1)
    continued: Samples = np.resize(recent[-period:], num_samples)
    continued *= fade.astype(np.float32)
    return continued

"""Conversations: speakers with several utterances each take turns, pause and interrupt.

Order and timing follow Landini et al., "From Simulated Mixtures to Simulated Conversations as
Training Data for End-to-End Neural Diarization" (Interspeech 2022): the utterances of all speakers
in random order, a pause when the same speaker goes on, a gap or an overlap when another one begins.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.recipes.pairing import Indices
from beam_jobs.recipes.random_numbers import draw
from schemas.recipe import Recipe
from schemas.recipe_config import Conversation


@dataclasses.dataclass(frozen=True, slots=True)
class Runs:
    """The utterances of each speaker, divided into runs: what one speaker says in a conversation.

    Conversations are made of runs as other mixtures are made of utterances. Every run is used
    equally often, and so is every utterance.

    Attributes:
        utterances: int32 [utterances], indices; those of a run are next to each other.
        bounds: int64 [runs + 1], the index in `utterances` where each run begins.
    """

    utterances: Indices
    bounds: npt.NDArray[np.int64]

    def __getitem__(self, run: int) -> Indices:
        """Returns the utterances of a run, int32 [utterances]."""
        return self.utterances[self.bounds[run] : self.bounds[run + 1]]

    @property
    def firsts(self) -> Indices:
        """The first utterance of each run, int32 [runs]."""
        firsts: Indices = self.utterances[self.bounds[:-1]]
        return firsts


def divide_into_runs(speakers: Indices, durations_s: npt.NDArray[np.float64], run_s: float) -> Runs:
    """Divides the utterances of each speaker into runs of about equal length.

    Args:
        speakers: int32 [utterances], the speaker of each utterance.
        durations_s: float64 [utterances], in seconds.
        run_s: the length of a run in seconds; a speaker with less speech has one shorter run.
    """
    order = np.argsort(speakers, kind="stable").astype(np.int32)
    _, firsts, counts = np.unique(speakers[order], return_index=True, return_counts=True)
    durations_s = durations_s[order]
    ends_s = np.cumsum(durations_s)
    starts_s = ends_s - durations_s
    totals_s = np.repeat(np.add.reduceat(durations_s, firsts), counts)
    middles_s = (starts_s + ends_s) / 2 - np.repeat(starts_s[firsts], counts)
    num_runs = np.maximum(np.round(totals_s / run_s), 1)
    numbers = np.minimum(middles_s / totals_s * num_runs, num_runs - 1).astype(np.int64)
    new = np.ones(len(order), bool)
    new[1:] = numbers[1:] != numbers[:-1]
    new[firsts] = True
    return Runs(order, np.append(np.flatnonzero(new), len(order)))


def conversation_offsets(
    lengths: Sequence[Sequence[int]],
    conversation: Conversation,
    sample_rate: int,
    uniforms: Iterator[float],
) -> list[list[int]]:
    """Draws the start of each utterance in a conversation.

    At most two speakers speak at once, and no speaker overlaps themselves: an overlap that is too
    long for that is shortened.

    Args:
        lengths: the lengths of each speaker's utterances, in samples and in order.
        conversation: what to draw from.
        sample_rate: in Hz.
        uniforms: random numbers from 0 to 1.

    Returns:
        The first sample of each utterance, by speaker. The speakers begin in their order, the first
        one at 0.
    """
    offsets: list[list[int]] = [[] for _ in lengths]
    ends = [0] * len(lengths)
    last_start = 0
    holder = None
    for speaker in _draw_order([len(own) for own in lengths], uniforms):
        start = 0
        if holder is not None:
            if speaker == holder:
                distribution, direction = conversation.pause_s, 1
            elif next(uniforms) < conversation.overlap_probability:
                distribution, direction = conversation.overlap_s, -1
            else:
                distribution, direction = conversation.gap_s, 1
            start = ends[holder] + direction * round(draw(distribution, uniforms) * sample_rate)
            others = (end for other, end in enumerate(ends) if other != holder)
            start = max(start, last_start, *others)
        length = lengths[speaker][len(offsets[speaker])]
        offsets[speaker].append(start)
        ends[speaker] = start + length
        last_start = start
        if holder is None or ends[speaker] > ends[holder]:
            holder = speaker
    return offsets


def _draw_order(counts: Sequence[int], uniforms: Iterator[float]) -> Iterator[int]:
    """Yields the speaker of each turn: utterances in random order, newcomers in the given one."""
    left = list(counts)
    num_entered = 0
    for total in range(sum(counts), 0, -1):
        place = next(uniforms) * total
        speaker = 0
        while place >= left[speaker]:
            place -= left[speaker]
            speaker += 1
        if speaker >= num_entered:
            speaker = num_entered
            num_entered += 1
        left[speaker] -= 1
        yield speaker


def turn_changes(recipe: Recipe) -> list[tuple[str, float]]:
    """Lists the pauses, gaps and overlaps between the utterances of a mixture, in time order.

    Returns:
        For each, its kind and its length in seconds. The kind is `pause_s` if the same speaker goes
        on; if another one begins, it is `gap_s` or `turn_overlap_s`.
    """
    heard = sorted(
        (one.offset_s, row, one.offset_s + one.duration_s)
        for row, sources in enumerate(recipe.rows)
        for one in sources
        if one.stop > one.start
    )
    changes: list[tuple[str, float]] = []
    _, holder, end_s = heard[0] if heard else (0.0, 0, 0.0)
    for start_s, row, stop_s in heard[1:]:
        if row == holder:
            changes.append(("pause_s", max(start_s - end_s, 0.0)))
        elif start_s < end_s:
            changes.append(("turn_overlap_s", end_s - start_s))
        else:
            changes.append(("gap_s", start_s - end_s))
        if stop_s > end_s:
            holder, end_s = row, stop_s
    return changes

"""Conversations: speakers with several utterances each take turns, pause and interrupt.

Order and timing follow Landini et al., "From Simulated Mixtures to Simulated Conversations as
Training Data for End-to-End Neural Diarization" (Interspeech 2022): the utterances of all speakers
in random order, a pause when the same speaker goes on, a gap or an overlap when another one begins.
A configuration may ask for more of what real conversations have: speakers who hold the floor, who
dominate, who say something short while another one speaks, and now and then three at once.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.recipes.group_sizes import Indices
from beam_jobs.recipes.random_numbers import draw
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

    def select(self, chosen: npt.NDArray[np.bool_]) -> "Runs":
        """Returns only some runs.

        Args:
            chosen: bool [runs], true for these.
        """
        sizes = np.diff(self.bounds)
        return Runs(
            self.utterances[np.repeat(chosen, sizes)],
            np.append(0, np.cumsum(sizes[chosen])),
        )

    @property
    def firsts(self) -> Indices:
        """The first utterance of each run, int32 [runs]."""
        firsts: Indices = self.utterances[self.bounds[:-1]]
        return firsts


def divide_into_runs(
    speakers: Indices,
    durations_s: npt.NDArray[np.float64],
    run_s: float,
    *,
    shape: float = math.inf,
    generator: np.random.Generator,
) -> Runs:
    """Divides the utterances of each speaker into runs.

    Args:
        speakers: int32 [utterances], the speaker of each utterance.
        durations_s: float64 [utterances], in seconds.
        run_s: the mean length of a run in seconds; a speaker with less speech has shorter ones.
        shape: of the gamma distribution from which the length of each run is drawn; infinite, runs
            are about equally long.
        generator: of the random lengths.
    """
    order = np.argsort(speakers, kind="stable").astype(np.int32)
    _, firsts, counts = np.unique(speakers[order], return_index=True, return_counts=True)
    durations_s = durations_s[order]
    ends_s = np.cumsum(durations_s)
    starts_s = ends_s - durations_s
    totals_s = np.repeat(np.add.reduceat(durations_s, firsts), counts)
    middles_s = (starts_s + ends_s) / 2 - np.repeat(starts_s[firsts], counts)
    if math.isinf(shape):
        num_runs = np.maximum(np.round(totals_s / run_s), 1)
        numbers = np.minimum(middles_s / totals_s * num_runs, num_runs - 1).astype(np.int64)
    else:
        by_speaker = np.split(durations_s, firsts[1:])
        numbers = np.concatenate(
            [_draw_run_numbers(own, run_s, shape, generator) for own in by_speaker]
        )
    new = np.ones(len(order), bool)
    new[1:] = numbers[1:] != numbers[:-1]
    new[firsts] = True
    return Runs(order, np.append(np.flatnonzero(new), len(order)))


def gamma_shape(dominance: float | None, num_speakers: float) -> float:
    """Returns the shape of the gamma distribution of the speech of each speaker.

    Gamma distributed amounts of speech are shares with a symmetric Dirichlet distribution of the
    same shape, whose mean Herfindahl index, scaled to 0 to 1, is 1 / (num_speakers * shape + 1).

    Args:
        dominance: as in `Conversation`.
        num_speakers: in a conversation, or their mean.
    """
    return (1 / dominance - 1) / num_speakers if dominance else math.inf


def _draw_run_numbers(
    durations_s: npt.NDArray[np.float64],
    run_s: float,
    shape: float,
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Draws the lengths of a speaker's runs, and returns the run of each utterance.

    Args:
        durations_s: float64 [utterances], of one speaker.
        run_s: the mean length of a run.
        shape: of the gamma distribution of their lengths.
        generator: of random numbers.
    """
    total_s = durations_s.sum()
    num_runs = max(round(total_s / run_s), 1)
    # Shares of the total, with the variance that independent lengths would have, but for few runs,
    # of which one would have everything.
    own_shape = max(((num_runs - 1) * shape - 1) / num_runs, shape / 2)
    edges_s = total_s * np.cumsum(generator.dirichlet([own_shape] * num_runs))
    middles_s = np.cumsum(durations_s) - durations_s / 2
    numbers = np.searchsorted(edges_s[:-1], middles_s, side="right")
    # However short, a run has an utterance: those of many short runs must not become a long one.
    numbers[0] = 0
    places = np.arange(len(numbers))
    in_turn: npt.NDArray[np.int64] = np.minimum.accumulate(numbers - places) + places
    return in_turn


def conversation_offsets(
    lengths: Sequence[Sequence[int]],
    conversation: Conversation,
    sample_rate: int,
    uniforms: Iterator[float],
) -> list[list[int]]:
    """Draws the start of each utterance in a conversation.

    No speaker overlaps themselves, and at most two speak at once, or three if the conversation asks
    for that: an overlap that is too long is shortened.

    Args:
        lengths: the lengths of each speaker's utterances, in samples and in order.
        conversation: what to draw from.
        sample_rate: in Hz.
        uniforms: random numbers from 0 to 1.

    Returns:
        The first sample of each utterance, by speaker. The speakers begin in their order, the first
        one at 0.
    """
    return _Floor(lengths, conversation, sample_rate, uniforms).draw()


class _Floor:
    """Gives the floor to one speaker after the other, and remembers who spoke when."""

    def __init__(
        self,
        lengths: Sequence[Sequence[int]],
        conversation: Conversation,
        sample_rate: int,
        uniforms: Iterator[float],
    ) -> None:
        self._lengths = lengths
        self._conversation = conversation
        self._sample_rate = sample_rate
        self._uniforms = uniforms
        self._left = [len(own) for own in lengths]
        self._offsets: list[list[int]] = [[] for _ in lengths]
        self._ends = [0] * len(lengths)
        self._last_start = 0
        # The speaker who will be the last one to end; None before the first turn.
        self._holder: int | None = None
        self._num_entered = 0
        # Backchannels that were drawn and not placed.
        self._num_due = 0
        # In samples: the time in which anyone speaks, and in which three do.
        self._spoken = self._three = 0
        # Rounds what three_at_once asks for, up or down, to whole utterances: right on average.
        self._phase = 0.0 if conversation.three_at_once is None else next(uniforms)

    def draw(self) -> list[list[int]]:
        """Draws the first sample of each utterance, by speaker."""
        while any(self._left):
            if not self._place_two_inside() and not self._place_backchannel():
                self._place_turn()
        return self._offsets

    def _place_turn(self) -> None:
        """Gives the floor to the next speaker."""
        speaker = self._draw_next_speaker()
        self._place(speaker, 0 if self._holder is None else self._draw_start(speaker, self._holder))

    def _draw_start(self, speaker: int, holder: int) -> int:
        conversation = self._conversation
        if speaker == holder:
            distribution, direction = conversation.pause_s, 1
        elif next(self._uniforms) < conversation.overlap_probability:
            distribution, direction = conversation.overlap_s, -1
        else:
            distribution, direction = conversation.gap_s, 1
        change = direction * round(draw(distribution, self._uniforms) * self._sample_rate)
        start = self._ends[holder] + change
        if conversation.backchannels is not None:
            # A turn that ends before the present one does, or begins with it, would be one.
            last = self._ends[holder] - self._next_length(speaker)
            start = max(start, last + 1, self._last_start + 1)
        with_three = max(start, self._earliest(speaker, at_once=3))
        if self._may_add(self._three_added(speaker, with_three)):
            return with_three
        return max(start, self._earliest(speaker, at_once=2))

    def _place_backchannel(self) -> bool:
        """Places a short utterance inside the present turn, if one is due and fits there."""
        backchannels = self._conversation.backchannels
        if backchannels is None:
            return False
        self._num_due += next(self._uniforms) < backchannels.probability
        fitting = [one for one in self._fitting_inside() if self._is_due(one)]
        if not fitting:
            return False
        self._place_inside(self._draw_speaker(fitting))
        return True

    def _place_two_inside(self) -> bool:
        """Places an utterance inside another one inside the present turn, if three shall speak."""
        if self._conversation.three_at_once is None:
            return False
        fitting = sorted(self._fitting_inside(), key=self._next_length)
        if len(fitting) < 2 or not self._may_add(self._next_length(fitting[0])):
            return False
        inner, outer = fitting[:2]
        self._place_inside(outer)
        self._place_inside(inner)
        return True

    def _place_inside(self, speaker: int) -> None:
        """Places an utterance inside the present turn: while two speak, if it may be three."""
        length = self._next_length(speaker)
        end, second_end, *_ = *self._ends_of_others(speaker), 0
        start = self._earliest(speaker, at_once=3)
        if start < second_end:
            start = self._draw_sample(start, min(end - length, max(start, second_end - length)))
        if start >= second_end or not self._may_add(self._three_added(speaker, start)):
            start = self._draw_sample(self._earliest(speaker, at_once=2), end - length)
        self._num_due -= 1
        self._place(speaker, start)

    def _place(self, speaker: int, start: int) -> None:
        stop = start + self._next_length(speaker)
        self._three += self._three_added(speaker, start)
        self._spoken += max(stop - max(start, *self._ends), 0)
        self._offsets[speaker].append(start)
        self._left[speaker] -= 1
        self._ends[speaker] = stop
        self._last_start = start
        self._num_entered = max(self._num_entered, speaker + 1)
        if self._holder is None or stop > self._ends[self._holder]:
            self._holder = speaker

    def _draw_next_speaker(self) -> int:
        """Draws who has the floor next: one who is not to say a backchannel, if anybody."""
        speakers = self._speakers_with_more()
        speakers = [one for one in speakers if not self._is_due(one)] or speakers
        if self._conversation.pause_probability is not None and self._holder in speakers:
            others = [one for one in speakers if one != self._holder]
            if not others or next(self._uniforms) < self._pause_probability(self._holder):
                return self._holder
            speakers = others
        return self._draw_speaker(speakers)

    def _pause_probability(self, holder: int) -> float:
        """Returns how probably the present speaker goes on: more so who has more left than others.

        If speakers stayed with the same probability and were followed by others by what those have
        left, what each has left would last unequally long. With these probabilities, whose mean is
        the one that was asked for, it lasts until the end for everyone.
        """
        asked = self._conversation.pause_probability
        assert asked is not None
        shares = [left / sum(self._left) for left in self._left]
        spread = 1 - sum(share**2 for share in shares)
        return 1 - (1 - asked) * (1 - shares[holder]) / spread

    def _draw_speaker(self, speakers: Sequence[int]) -> int:
        """Draws one of some speakers by the number of utterances that each of them has left."""
        # The next one to enter stands for all who have not entered yet.
        weights = [
            self._left[one] if one < self._num_entered else sum(self._left[self._num_entered :])
            for one in speakers
        ]
        place = next(self._uniforms) * sum(weights)
        index = 0
        while place >= weights[index]:
            place -= weights[index]
            index += 1
        return speakers[index]

    def _draw_sample(self, earliest: int, latest: int) -> int:
        return earliest + int(next(self._uniforms) * (latest - earliest + 1))

    def _speakers_with_more(self) -> list[int]:
        """Returns the speakers who have utterances left, and of newcomers only the next one."""
        return [one for one, left in enumerate(self._left[: self._num_entered + 1]) if left]

    def _fitting_inside(self) -> list[int]:
        """Returns the speakers whose next utterance fits inside the present turn."""
        if self._holder is None:
            return []
        end = self._ends[self._holder]
        return [
            one
            for one in self._speakers_with_more()
            if self._earliest(one, at_once=2) + self._next_length(one) <= end
        ]

    def _is_due(self, speaker: int) -> bool:
        """Returns whether the next utterance of a speaker is to be a backchannel."""
        backchannels = self._conversation.backchannels
        return (
            backchannels is not None
            and self._num_due > 0
            and self._next_length(speaker) <= backchannels.max_s * self._sample_rate
        )

    def _next_length(self, speaker: int) -> int:
        return self._lengths[speaker][len(self._offsets[speaker])]

    def _ends_of_others(self, speaker: int) -> list[int]:
        """Returns where each other speaker ends, the last one first."""
        return sorted(self._ends[:speaker] + self._ends[speaker + 1 :], reverse=True)

    def _earliest(self, speaker: int, *, at_once: int) -> int:
        """Returns the first sample at which a speaker makes it so many at once, or fewer."""
        busy = self._ends_of_others(speaker)[at_once - 1 : at_once]
        return max(self._last_start, self._ends[speaker], *busy)

    def _three_added(self, speaker: int, start: int) -> int:
        """Returns for how long three speak if a speaker makes it three at most, in samples."""
        second = self._ends_of_others(speaker)[1:2]
        stop = start + self._next_length(speaker)
        return max(min(stop, *second) - start, 0) if second else 0

    def _may_add(self, three: int) -> bool:
        """Returns whether three may speak for so long, in samples."""
        asked = self._conversation.three_at_once
        return asked is not None and asked * self._spoken - self._three >= self._phase * three

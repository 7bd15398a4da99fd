"""Conversations: speakers with several utterances each take turns, pause and interrupt.

Order and timing follow Landini et al., "From Simulated Mixtures to Simulated Conversations as
Training Data for End-to-End Neural Diarization" (Interspeech 2022): the utterances of all speakers
in random order, a pause when the same speaker goes on, a gap or an overlap when another one begins.
A configuration may ask for more of what real conversations have: speakers who hold the floor, who
dominate, who say something short while another one speaks, and now and then three at once.
"""

import dataclasses
import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.recipes.group_sizes import Indices
from beam_jobs.recipes.random_numbers import draw
from schemas.recipe_config import Backchannels, Conversation


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
        shape: of the gamma distribution from which the length of each run is drawn, and the longer
            a run is, the longer are its utterances; infinite, runs are about equally long, whatever
            utterances they have.
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
        by_run = np.lexsort((numbers, speakers[order]))
        order, numbers = order[by_run], numbers[by_run]
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
    total_s, num_utterances = durations_s.sum(), len(durations_s)
    # At least so many that one can be as much longer than the others as dominance takes.
    num_runs = min(max(round(total_s / run_s), round(1 + 1 / shape)), num_utterances)
    # Shares of a total differ less than independent lengths do: this makes up for it.
    own_shape = shape * (1 - 1 / num_runs) or 1.0
    left_s = total_s * generator.dirichlet([own_shape] * num_runs)
    shortest_first = np.argsort(durations_s, kind="stable")
    numbers = np.empty(num_utterances, np.int64)
    # However short, a run has an utterance.
    numbers[shortest_first[:num_runs]] = np.arange(num_runs)
    left_s -= durations_s[shortest_first[:num_runs]]
    # Who says little says it in short turns: the longest are for those with most left to say.
    most_left = [(-own_s, run) for run, own_s in enumerate(left_s.tolist())]
    heapq.heapify(most_left)
    for utterance in shortest_first[: num_runs - 1 : -1].tolist():
        filled_s, run = most_left[0]
        numbers[utterance] = run
        heapq.heapreplace(most_left, (filled_s + durations_s[utterance], run))
    return numbers


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
        one at 0. Only if there are backchannels may a speaker's utterances be in another order.
    """
    return _Floor(lengths, conversation, sample_rate, uniforms).draw()


_Span = tuple[int, int, int]
"""The first sample of an utterance, the one after its last, and who speaks."""


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
        # What each speaker has left to say: with the floor, in order; and inside another's turn,
        # the longest first.
        self._turns = [list(range(len(own))) for own in lengths]
        self._asides: list[list[int]] = [[] for _ in lengths]
        self._offsets = [[0] * len(own) for own in lengths]
        self._spans: list[_Span] = []
        self._ends = [0] * len(lengths)
        self._last_start = 0
        # The speaker who will be the last one to end; None before the first turn.
        self._holder: int | None = None
        self._num_entered = 0
        # In samples: the time in which anyone speaks, and in which three do.
        self._spoken = self._three = 0
        # Rounds what three_at_once asks for, up or down, to whole utterances: right on average.
        self._phase = 0.0 if conversation.three_at_once is None else next(uniforms)
        if conversation.backchannels is not None:
            self._set_aside(conversation.backchannels)

    def _set_aside(self, backchannels: Backchannels) -> None:
        """Chooses the utterances that shall be backchannels: the shortest, if short enough."""
        longest = backchannels.max_s * self._sample_rate
        short = [
            (length, speaker, utterance)
            for speaker, own in enumerate(self._lengths)
            for utterance, length in enumerate(own)
            if length <= longest
        ]
        # Rounded up or down, right on average.
        asked = backchannels.probability * sum(map(len, self._lengths)) + next(self._uniforms)
        for _, speaker, utterance in reversed(sorted(short)[: int(asked)]):
            self._turns[speaker].remove(utterance)
            self._asides[speaker].append(utterance)

    def draw(self) -> list[list[int]]:
        """Draws the first sample of each utterance, by speaker."""
        while any(self._turns):
            if not self._place_two_inside() and not self._place_newcomer():
                self._place_turn()
        self._place_backchannels()
        while any(self._asides):
            self._place_turn()
        return self._offsets

    def _place_turn(self) -> None:
        """Gives the floor to the next speaker."""
        speaker = self._draw_next_speaker()
        left = self._turns[speaker] or self._asides[speaker]
        if self._holder is None:
            self._place(speaker, left[0], 0)
            return
        end = self._ends[self._holder]
        start = end + self._draw_change(speaker, self._holder)
        utterance = left[0]
        if self._conversation.backchannels is not None:
            # A turn that ends before the present one does, or begins with it, would be one.
            longer = (one for one in left if start + self._lengths[speaker][one] > end)
            utterance = next(longer, utterance)
            least = end - self._lengths[speaker][utterance] + 1
            start = max(start, least, self._last_start + 1)
        with_three = max(start, self._earliest(speaker, at_once=3))
        three = self._three_added(speaker, with_three, self._lengths[speaker][utterance])
        if self._may_add(three):
            start = with_three
        else:
            start = max(start, self._earliest(speaker, at_once=2))
        self._place(speaker, utterance, start)

    def _draw_change(self, speaker: int, holder: int) -> int:
        """Draws how long after the end of the present turn a speaker begins; negative, before."""
        conversation = self._conversation
        if speaker == holder:
            distribution, direction = conversation.pause_s, 1
        elif next(self._uniforms) < conversation.overlap_probability:
            distribution, direction = conversation.overlap_s, -1
        else:
            distribution, direction = conversation.gap_s, 1
        return direction * round(draw(distribution, self._uniforms) * self._sample_rate)

    def _place_newcomer(self) -> bool:
        """Lets who has nothing but backchannels begin inside the present turn, if one fits."""
        newcomer = self._num_entered
        if self._holder is None or newcomer == len(self._lengths) or self._turns[newcomer]:
            return False
        utterance = self._fitting_inside(self._asides).get(newcomer)
        if utterance is None:
            return False
        self._place_inside(newcomer, utterance)
        return True

    def _place_backchannels(self) -> None:
        """Places backchannels where another speaker is alone, the longest first."""
        alone = list(_find_alone(self._spans))
        for length, speaker, utterance in self._asides_left():
            if speaker >= self._num_entered:
                continue
            # Not before their first utterance: speakers begin in their order.
            first = min(start for start, _, one in self._spans if one == speaker)
            rooms = [
                (start, stop, holder)
                for start, stop, holder in alone
                if holder != speaker and max(start, first) + length <= stop
            ]
            if rooms:
                room = rooms[int(next(self._uniforms) * len(rooms))]
                start, stop, holder = room
                placed = self._draw_sample(max(start, first), stop - length)
                self._note(speaker, utterance, placed)
                alone.remove(room)
                alone += [(start, placed, holder), (placed + length, stop, holder)]

    def _asides_left(self) -> list[tuple[int, int, int]]:
        """Returns the length of each backchannel, who says it, and which, the longest first."""
        left = (
            (self._lengths[speaker][utterance], speaker, utterance)
            for speaker, own in enumerate(self._asides)
            for utterance in own
        )
        return sorted(left, reverse=True)

    def _place_two_inside(self) -> bool:
        """Places an utterance inside another one inside the present turn, if three shall speak."""
        if self._conversation.three_at_once is None:
            return False
        firsts = [own[:1] for own in self._turns]
        fitting = self._fitting_inside(firsts) | self._fitting_inside(self._asides)
        lengths = {one: self._lengths[one][utterance] for one, utterance in fitting.items()}
        in_order = sorted(fitting, key=lambda one: (lengths[one], one))
        if len(in_order) < 2 or not self._may_add(lengths[in_order[0]]):
            return False
        inner, outer = in_order[:2]
        for speaker in (outer, inner):
            if fitting[speaker] in self._turns[speaker]:
                self._give_up_longest_aside()
            self._place_inside(speaker, fitting[speaker])
        return True

    def _give_up_longest_aside(self) -> None:
        """Makes a backchannel a turn, because a turn is said inside another one instead."""
        left = self._asides_left()
        if left:
            _, speaker, utterance = left[0]
            self._asides[speaker].remove(utterance)
            self._turns[speaker].append(utterance)

    def _place_inside(self, speaker: int, utterance: int) -> None:
        """Places an utterance inside the present turn: while two speak, if it may be three."""
        length = self._lengths[speaker][utterance]
        end, second_end, *_ = *self._ends_of_others(speaker), 0
        start = self._earliest(speaker, at_once=3)
        if start < second_end:
            start = self._draw_sample(start, min(end - length, max(start, second_end - length)))
        if start >= second_end or not self._may_add(self._three_added(speaker, start, length)):
            start = self._draw_sample(self._earliest(speaker, at_once=2), end - length)
        self._place(speaker, utterance, start)

    def _place(self, speaker: int, utterance: int, start: int) -> None:
        length = self._lengths[speaker][utterance]
        stop = start + length
        self._three += self._three_added(speaker, start, length)
        self._spoken += max(stop - max(start, *self._ends), 0)
        self._note(speaker, utterance, start)
        self._last_start = start
        self._num_entered = max(self._num_entered, speaker + 1)
        if self._holder is None or stop > self._ends[self._holder]:
            self._holder = speaker

    def _note(self, speaker: int, utterance: int, start: int) -> None:
        stop = start + self._lengths[speaker][utterance]
        self._offsets[speaker][utterance] = start
        self._spans.append((start, stop, speaker))
        # A backchannel may be placed before what its speaker says later.
        self._ends[speaker] = max(self._ends[speaker], stop)
        for left in (self._turns[speaker], self._asides[speaker]):
            if utterance in left:
                left.remove(utterance)

    def _draw_next_speaker(self) -> int:
        """Draws who has the floor next; of those with backchannels, only if nobody has more."""
        speakers = self._speakers_with(self._turns)
        if not speakers:
            return self._draw_speaker(self._speakers_with(self._asides), self._asides)
        if self._conversation.pause_probability is not None and self._holder in speakers:
            others = [one for one in speakers if one != self._holder]
            if not others or next(self._uniforms) < self._pause_probability(self._holder):
                return self._holder
            speakers = others
        return self._draw_speaker(speakers, self._turns)

    def _pause_probability(self, holder: int) -> float:
        """Returns how probably the present speaker goes on: more so who has more left than others.

        If speakers stayed with the same probability and were followed by others by what those have
        left, what each has left would last unequally long. With these probabilities, whose mean is
        the one that was asked for, it lasts until the end for everyone.
        """
        asked = self._conversation.pause_probability
        assert asked is not None
        # As before this speaker's present turn: in random order, the next one is one of the others.
        counts = [len(own) + (one == holder) for one, own in enumerate(self._turns)]
        others = sum(counts) - 1
        same = sum(count * (count - 1) for count in counts) / ((others + 1) * others)
        return 1 - (1 - asked) * (1 - (counts[holder] - 1) / others) / (1 - same)

    def _draw_speaker(self, speakers: Sequence[int], left: Sequence[Sequence[int]]) -> int:
        """Draws one of some speakers by the number of utterances that each of them has left."""
        weights = [
            sum(map(len, left[one:])) if one == self._num_entered else len(left[one])
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

    def _speakers_with(self, left: Sequence[Sequence[int]]) -> list[int]:
        """Returns the speakers who have something left, and of newcomers only the next one.

        Speakers begin in their order, so the next one stands for all who have not begun yet.
        """
        entered = self._num_entered
        speakers = [one for one, own in enumerate(left[:entered]) if own]
        return [*speakers, entered] if any(left[entered:]) else speakers

    def _fitting_inside(self, left: Sequence[Sequence[int]]) -> dict[int, int]:
        """Returns the first utterance of each speaker that fits inside the present turn, if any."""
        if self._holder is None:
            return {}
        end = self._ends[self._holder]
        fitting = {}
        for speaker, own in enumerate(left[: self._num_entered + 1]):
            room = end - self._earliest(speaker, at_once=2)
            lengths = self._lengths[speaker]
            utterance = next((one for one in own if lengths[one] <= room), None)
            if utterance is not None:
                fitting[speaker] = utterance
        return fitting

    def _ends_of_others(self, speaker: int) -> list[int]:
        """Returns where each other speaker ends, the last one first."""
        return sorted(self._ends[:speaker] + self._ends[speaker + 1 :], reverse=True)

    def _earliest(self, speaker: int, *, at_once: int) -> int:
        """Returns the first sample at which a speaker makes it so many at once, or fewer."""
        busy = self._ends_of_others(speaker)[at_once - 1 : at_once]
        return max(self._last_start, self._ends[speaker], *busy)

    def _three_added(self, speaker: int, start: int, length: int) -> int:
        """Returns for how long three speak if a speaker makes it three at most, in samples."""
        second = self._ends_of_others(speaker)[1:2]
        stop = start + length
        return max(min(stop, *second) - start, 0) if second else 0

    def _may_add(self, three: int) -> bool:
        """Returns whether three may speak for so long, in samples."""
        asked = self._conversation.three_at_once
        return asked is not None and asked * self._spoken - self._three >= self._phase * three


def _find_alone(spans: Iterable[_Span]) -> Iterator[_Span]:
    """Yields each stretch in which one speaks alone, in time order."""
    changes = sorted(
        (sample, begins, speaker)
        for start, stop, speaker in spans
        for sample, begins in ((start, True), (stop, False))
    )
    speaking: set[int] = set()
    for (start, begins, speaker), (stop, _, _) in itertools.pairwise(changes):
        speaking = speaking | {speaker} if begins else speaking - {speaker}
        if len(speaking) == 1 and start < stop:
            (alone,) = speaking
            yield start, stop, alone

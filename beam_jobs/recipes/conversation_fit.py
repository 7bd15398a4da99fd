"""Recipes fitted to recordings: what RTTM files say of who speaks when, as a configuration."""

import dataclasses
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.turn_taking import Change, find_dominance, share_of_three, turn_changes
from beam_jobs.separation.turns import Turn, parse_rttm_lines
from beam_jobs.storage import text
from schemas.errors import UserError
from schemas.recipe import MAX_ROWS
from schemas.recipe_config import (
    Backchannels,
    Conversation,
    Distribution,
    Quantiles,
    RecipeConfig,
    Uniform,
)

# Longer conversations cost memory, and have nothing that these lack.
MAX_SPEECH_S = 600.0

# The least and the greatest number, and each twentieth of the numbers between them.
_NUM_QUANTILES = 21
# Now and then people talk on inside another one's turn, which is not short.
_SHORT_QUANTILE = 0.9
# Enough for shares to a twentieth.
_MAX_CHOICES = 20
# As in the schema of recipe configurations.
_MAX_DURATION_S = 3600.0
_MAX_SHARE = 0.9
# What a file does not say.
_LEVEL = Uniform(-33.0, -25.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Fit:
    """A configuration, and what it was fitted to.

    Attributes:
        config: from which conversations like the recordings are drawn.
        num_speakers: of the recordings, ascending: how many there are of each number of speakers.
        num_turns: in all of them together.
        speech_s: in all of them together.
        guessed: keys of `conversation` that the recordings say nothing of.
    """

    config: RecipeConfig
    num_speakers: Mapping[int, int]
    num_turns: int
    speech_s: float
    guessed: tuple[str, ...]


def read_recordings(paths: Iterable[str]) -> dict[tuple[str, str], list[Turn]]:
    """Reads the turns in RTTM files.

    Returns:
        Those of each recording, in time order, by the path of its file and by its name there; the
        file has all channels of a recording. A file without turns is left out.

    Raises:
        UserError: a line is not RTTM, or a file is not text; the message has the file and the line.
        OSError: a file can't be read.
    """
    recordings: dict[tuple[str, str], list[Turn]] = defaultdict(list)
    for path in paths:
        try:
            for name, turn in parse_rttm_lines(text.read_lines(path)):
                recordings[path, name].append(turn)
        except text.TextError:
            raise
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return {key: merge_turns(turns) for key, turns in recordings.items()}


def merge_turns(turns: Iterable[Turn]) -> list[Turn]:
    """Merges the turns of each speaker that overlap or touch each other, and drops empty ones.

    Args:
        turns: of a recording, in any order. Each channel has speakers of its own.

    Returns:
        In time order, all on one channel.
    """
    by_speaker: dict[tuple[int, str], list[Turn]] = defaultdict(list)
    for turn in turns:
        by_speaker[turn.channel, turn.speaker].append(turn)
    merged: list[Turn] = []
    for (channel, speaker), own in by_speaker.items():
        spans: list[list[float]] = []
        for start_s, stop_s in sorted((one.onset_s, one.onset_s + one.duration_s) for one in own):
            if spans and start_s <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], stop_s)
            elif stop_s > start_s:
                spans.append([start_s, stop_s])
        name = f"{channel} {speaker}"
        merged += [Turn(name, start_s, stop_s - start_s) for start_s, stop_s in spans]
    return sorted(merged, key=lambda turn: turn.onset_s)


def fit_conversation(recordings: Sequence[Sequence[Turn]]) -> Fit:
    """Fits a recipe configuration to recordings of conversations.

    Args:
        recordings: the turns of each, which has two speakers or more; those of a speaker do not
            overlap each other.
    """
    lengths_s: dict[Change, list[float]] = defaultdict(list)
    for turns in recordings:
        for change, length_s in turn_changes(turns):
            lengths_s[change].append(length_s)
    num_turns = sum(map(len, recordings))
    num_speakers = [len({turn.speaker for turn in turns}) for turns in recordings]
    speech_s = [sum(turn.duration_s for turn in turns) for turns in recordings]
    pauses, gaps, overlaps = lengths_s["pause_s"], lengths_s["gap_s"], lengths_s["turn_overlap_s"]
    changes = len(gaps) + len(overlaps)
    published = load_recipe_config("conversation").conversation
    assert published is not None
    three = float(np.average([share_of_three(turns) for turns in recordings], weights=speech_s))
    guessed: list[str] = []

    def fit(key: str, values: Sequence[float]) -> Distribution:
        if values:
            return fit_quantiles(values)
        guessed.append(key)
        distribution: Distribution = getattr(published, key)
        return distribution

    conversation = Conversation(
        speech_s=max(round(min(statistics.fmean(speech_s), MAX_SPEECH_S), 1), 0.1),
        pause_s=fit("pause_s", pauses),
        gap_s=fit("gap_s", gaps),
        overlap_s=fit("overlap_s", overlaps),
        overlap_probability=_share(len(overlaps), changes),
        pause_probability=_share(len(pauses), len(pauses) + changes),
        dominance=min(_round(statistics.fmean(map(find_dominance, recordings))), _MAX_SHARE),
        backchannels=_fit_backchannels(lengths_s["backchannel_s"], num_turns),
        three_at_once=_round(min(three, _MAX_SHARE)) if max(num_speakers) > 2 else None,
    )
    config = RecipeConfig(
        description="Conversations with the turn-taking of recordings with"
        f" {sum(speech_s) / 3600:.2g} hours of speech.",
        num_speakers=_fit_num_speakers(num_speakers),
        offset_s=None,
        level_kind="loudness_lufs",
        level=_LEVEL,
        conversation=conversation,
    )
    counts = dict(sorted(Counter(num_speakers).items()))
    return Fit(config, counts, num_turns, sum(speech_s), tuple(guessed))


def fit_quantiles(values: Sequence[float]) -> Quantiles:
    """Returns the distribution of some numbers, with the same mean above the last twentieth.

    The greatest of many numbers may be far away from all others. As the end of the last twentieth
    it would make long ones common, so the end is where the mean of that twentieth stays as it is.
    """
    numbers = np.sort(np.asarray(values, np.float64))
    quantiles = np.quantile(numbers, np.linspace(0, 1, _NUM_QUANTILES))
    last = numbers[numbers >= quantiles[-2]]
    quantiles[-1] = max(2 * last.mean() - quantiles[-2], quantiles[-2])
    return Quantiles(tuple(round(float(one), 3) for one in quantiles.clip(max=_MAX_DURATION_S)))


def _fit_num_speakers(numbers: Sequence[int]) -> int | tuple[int, ...]:
    """Returns the number of speakers of recordings, or several of them with their shares."""
    fitting = sorted(min(number, MAX_ROWS) for number in numbers)
    if len(fitting) > _MAX_CHOICES:
        places = (np.arange(_MAX_CHOICES) + 0.5) / _MAX_CHOICES
        fitting = np.quantile(fitting, places, method="nearest").tolist()
    counts = Counter(fitting)
    divisor = math.gcd(*counts.values())
    reduced = [number for number, count in counts.items() for _ in range(count // divisor)]
    return reduced[0] if len(reduced) == 1 else tuple(reduced)


def _fit_backchannels(lengths_s: Sequence[float], num_turns: int) -> Backchannels | None:
    if not lengths_s:
        return None
    longest_s = round(min(float(np.quantile(lengths_s, _SHORT_QUANTILE)), _MAX_DURATION_S), 2)
    return Backchannels(min(_share(len(lengths_s), num_turns), _MAX_SHARE), max(longest_s, 0.01))


def _share(part: float, whole: float) -> float:
    return _round(part / whole) if whole else 0.0


def _round(share: float) -> float:
    return round(share, 4)

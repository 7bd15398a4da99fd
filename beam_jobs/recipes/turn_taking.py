"""Turn-taking, measured alike in recordings and in the recipes that imitate them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from beam_jobs.separation.turns import Turn
from schemas.recipe import Recipe, overlap_ratio

Change = Literal["pause_s", "gap_s", "turn_overlap_s", "backchannel_s"]


def recipe_turns(recipe: Recipe) -> list[Turn]:
    """Returns the turns of a mixture's speakers: the utterances of its rows, by their onset."""
    turns = [
        Turn(source.speaker, source.offset_s, source.duration_s)
        for source in recipe.sources
        if source.stop > source.start
    ]
    return sorted(turns, key=lambda turn: turn.onset_s)


def turn_changes(turns: Sequence[Turn]) -> list[tuple[Change, float]]:
    """Lists what happens between the turns of a conversation, in time order.

    Args:
        turns: of a conversation; those of a speaker do not overlap each other.

    Returns:
        For each turn after the first, what it begins with and how long that is, in seconds:
        `pause_s` if the speaker goes on; if another one begins, `gap_s` or `turn_overlap_s`; or
        `backchannel_s` for a turn that ends before that of the present speaker does, and which is
        so long.
    """
    changes: list[tuple[Change, float]] = []
    holder: str | None = None
    end_s = 0.0
    # Of two that begin at once, the longer one is the turn.
    for turn in sorted(turns, key=lambda turn: (turn.onset_s, -turn.duration_s)):
        stop_s = turn.onset_s + turn.duration_s
        if turn.speaker == holder:
            changes.append(("pause_s", max(turn.onset_s - end_s, 0.0)))
        elif holder is not None and stop_s <= end_s:
            changes.append(("backchannel_s", turn.duration_s))
        elif holder is not None and turn.onset_s < end_s:
            changes.append(("turn_overlap_s", end_s - turn.onset_s))
        elif holder is not None:
            changes.append(("gap_s", turn.onset_s - end_s))
        if holder is None or stop_s > end_s:
            holder, end_s = turn.speaker, stop_s
    return changes


def find_dominance(turns: Sequence[Turn]) -> float:
    """Returns how unevenly the speakers of a conversation share the floor.

    It is 0 if all speak equally long and 1 if one says everything: the Herfindahl index of their
    shares of the speech, scaled from its least value to its greatest. 0 for one speaker alone.
    """
    spoken_s: dict[str, float] = defaultdict(float)
    for turn in turns:
        spoken_s[turn.speaker] += turn.duration_s
    total_s, count = sum(spoken_s.values()), len(spoken_s)
    if count < 2 or not total_s:
        return 0.0
    concentration = sum((own_s / total_s) ** 2 for own_s in spoken_s.values())
    return max((count * concentration - 1) / (count - 1), 0.0)


def share_of_three(turns: Sequence[Turn]) -> float:
    """Returns the time in which three or more speak over the time in which anyone does."""
    return overlap_ratio(((turn.onset_s, turn.onset_s + turn.duration_s) for turn in turns), 3)

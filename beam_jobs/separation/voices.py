"""Voices: whose output is whose where a joint model's outputs swap from window to window.

Nothing in a window tells which of its outputs belongs to which speaker of the recording, and a
network that separates those who talk at once may leave those who take turns in one output. So the
outputs are continued from window to window (`tracks`), what is said alone is cut into pieces that
are described by speaker embeddings (`voice_pieces`), the pieces of the whole recording are
clustered, and the likeliest order of the tracks is followed from piece to piece: it changes where
enough is gained by it.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import FRAME_S, find_active, find_stretches
from beam_jobs.separation.held_windows import HeldWindows, Levels
from beam_jobs.separation.tracks import Tracks
from beam_jobs.separation.voice_clusters import (
    add_pieces,
    cluster_pieces,
    find_alike_s,
    find_centroids,
    to_unit,
)
from beam_jobs.separation.voice_embedder import VoiceEmbedder
from beam_jobs.separation.voice_pieces import Pieces, describe_pieces, find_alone, loud_level_db
from beam_jobs.separation.window_orders import Changes, Order, arrange_levels_db
from beam_jobs.separation.windows import Framing

_MAX_ITERATIONS = 20
# A change of order has to be worth so many seconds of perfect agreement, and fewer after a pause of
# everybody: in 48 conversations of two minutes, separated by the default model, the best order
# changed at 2 % of the moments that speech leads up to, and at 13 % of those after a pause.
_CHANGE_COST_S = 0.2
_CHANGE_COST_AFTER_PAUSE_S = 0.06
_PAUSE_S = 0.2

# Two voices, rather than one: each second of speech agrees so much better with two centroids than
# with one, which little speech does by chance. What is loud in two tracks at once counts for more
# than its time, for a network leaves one voice in several outputs in turns, and what leaks is
# softer. Chosen by 540 recordings of one speaker and 726 of two, most of them of 4 to 50 s, clean,
# in noise and by telephone, with much overlap, little, or none. Of 130 and 204 others, most of them
# of 4 to 12 s, it is wrong about 3 and 19.
_TWO_VOICES_GAIN = 0.05
_CHANCE_GAIN_S = 0.25
_BOTH_LOUD_GAIN = 3.0
_LOUD_DB = 20.0
# In a recording of one window, which is not described: alone in another output for so long, or
# sounding together for such a share of it.
_MIN_TOGETHER_S = 0.5
_MIN_TOGETHER_SHARE = 0.15

# One voice more than there are outputs: it is unlike all others, and has a share of the speech that
# is larger than that of what a network fails to separate, which sounds like somebody else.
_ANOTHER_VOICE_COSINE = 0.4
_MIN_VOICE_S = 3.0
_MIN_VOICE_SHARE = 0.18

# An order that is ahead of the next best one by so many seconds of perfect agreement is e times as
# likely to be right as wrong.
_MARGIN_S = 0.08


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class VoiceOrder:
    """The order of the outputs of a recording's windows.

    Attributes:
        changes: of each window.
        num_voices: the number of people who speak; 0 if nobody does.
        more_voices: whether more people speak than the model has outputs.
        confidence: the probability that a second of speech is in the right output, 0 to 1.
    """

    changes: tuple[Changes, ...]
    num_voices: int
    more_voices: bool
    confidence: float

    @property
    def num_changes(self) -> int:
        """The number of changes of order inside windows."""
        return sum(len(changes) - 1 for changes in self.changes)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """The likeliest orders of the tracks.

    Attributes:
        orders: int64 [moments], the number of each order.
        margins_s: how much worse it would be to have another one there, in seconds of perfect
            agreement, float64 [moments].
        total_s: the agreement of all pieces with the voices that the orders give them, less what
            the changes cost.
    """

    orders: npt.NDArray[np.int64]
    margins_s: npt.NDArray[np.float64]
    total_s: float


def order_windows(
    held: HeldWindows, framing: Framing, embedder: VoiceEmbedder, sample_rate: int
) -> VoiceOrder:
    """Finds the voices of a recording and puts the outputs of its windows in their order.

    The first voice is the one that speaks first; voices that never speak come last.

    Args:
        held: the outputs of all windows.
        framing: of the windows.
        embedder: describes voices.
        sample_rate: of the windows, in Hz.
    """
    levels_db = held.levels_db
    num_windows, num_sources, _ = levels_db.shape
    orders = np.array(list(itertools.permutations(range(num_sources))), np.int64)
    tracks = Tracks(held, framing, orders, sample_rate)
    as_they_are = tuple(((0, outputs),) for outputs in tracks.outputs)
    heard, alone = find_alone(tracks.levels_db)
    if num_windows == 1:
        is_one = _is_one_in_a_window(heard, alone)
        found = VoiceOrder(as_they_are, 1 if is_one else num_sources, False, 1.0)
        return _in_order_of_onset(found, levels_db, framing, sample_rate)
    pieces = describe_pieces(tracks, heard, alone, embedder)
    if len(pieces.tracks) < num_sources:
        found = VoiceOrder(as_they_are, num_sources, False, 1.0)
        return _in_order_of_onset(found, levels_db, framing, sample_rate)
    borders = _find_borders(tracks.levels_db, pieces)
    path = _find_path(pieces, orders, _change_costs_s(heard, pieces))
    voices = _voices_of(pieces, orders[path.orders])
    is_one = not _has_two_voices(pieces, voices, num_sources, tracks.levels_db)
    weights_s = np.bincount(pieces.moments, pieces.weights_s)
    confidences = 1 / (1 + np.exp(-path.margins_s / _MARGIN_S))
    found = VoiceOrder(
        changes=_find_changes(tracks, borders, orders[path.orders]),
        num_voices=1 if is_one else num_sources,
        more_voices=not is_one and _has_more_voices(pieces, num_sources + 1),
        confidence=1.0 if is_one else float(np.average(confidences, weights=weights_s)),
    )
    return _in_order_of_onset(found, levels_db, framing, sample_rate)


def _change_costs_s(heard: npt.NDArray[np.bool_], pieces: Pieces) -> npt.NDArray[np.float64]:
    """Returns what a change of order costs between each moment and the next, in seconds.

    Args:
        heard: in which frames each track is heard, bool [tracks, frames].
        pieces: of speech.

    Returns:
        float64 [moments - 1].
    """
    bounds = pieces.bounds[pieces.firsts]
    num_silent = np.cumsum(np.append(0, ~heard.any(axis=0)))
    starts, stops = bounds[:-1, 1] + 1, bounds[1:, 0]
    pauses_s = (num_silent[np.maximum(stops, starts)] - num_silent[starts]) * FRAME_S
    return np.where(pauses_s >= _PAUSE_S, _CHANGE_COST_AFTER_PAUSE_S, _CHANGE_COST_S)


def _find_path(
    pieces: Pieces, orders: npt.NDArray[np.int64], costs_s: npt.NDArray[np.float64]
) -> _Path:
    """Finds the orders that agree best with voices, and the voices that agree best with them."""
    num_voices = orders.shape[1]
    centroids, _ = cluster_pieces(pieces, num_voices)
    path = _follow(pieces, centroids, orders, costs_s)
    for _ in range(_MAX_ITERATIONS):
        voices = _voices_of(pieces, orders[path.orders])
        centroids = find_centroids(pieces.weighted, voices, num_voices)
        better = _follow(pieces, centroids, orders, costs_s)
        if better.total_s <= path.total_s + 1e-6:
            break
        path = better
    return path


def _follow(
    pieces: Pieces,
    centroids: npt.NDArray[np.float64],
    orders: npt.NDArray[np.int64],
    costs_s: npt.NDArray[np.float64],
) -> _Path:
    """Finds the path of orders with the highest score, where each change has its cost.

    Viterbi's algorithm, in both directions, so that it is known of each moment how good the best
    path through each other order would be.
    """
    scores = pieces.weighted @ centroids.T
    voices_of = np.argsort(orders, axis=1)
    # [pieces, orders]: the score of each piece for the voice that each order gives it.
    by_piece = np.take_along_axis(scores, voices_of[:, pieces.tracks].T, axis=1)
    emitted = np.zeros((pieces.num_moments, len(orders)))
    np.add.at(emitted, pieces.moments, by_piece)
    until, after = emitted.copy(), np.zeros_like(emitted)
    for moment in range(1, len(emitted)):
        before = until[moment - 1]
        until[moment] += np.maximum(before, before.max() - costs_s[moment - 1])
    for moment in range(len(emitted) - 1, 0, -1):
        later = after[moment] + emitted[moment]
        after[moment - 1] = np.maximum(later, later.max() - costs_s[moment - 1])
    totals = until + after
    # A model may have one output, whose only order is sure.
    ranked = np.sort(totals, axis=1)
    margins_s = ranked[:, -1] - ranked[:, -2] if len(orders) > 1 else np.full(len(totals), np.inf)
    return _Path(totals.argmax(axis=1), margins_s, float(totals[0].max()))


def _voices_of(pieces: Pieces, orders: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the voice of each piece, int64 [pieces].

    Args:
        pieces: of speech.
        orders: of each moment, for each voice its track, int64 [moments, voices].
    """
    voices = np.argsort(orders, axis=1)[pieces.moments, pieces.tracks]
    return voices.astype(np.int64)


def _find_changes(
    tracks: Tracks, borders: Sequence[int], orders: npt.NDArray[np.int64]
) -> tuple[Changes, ...]:
    """Returns the orders of the outputs of each window, which follow from those of the tracks.

    Args:
        tracks: of the recording.
        borders: the frames between which each moment is.
        orders: of each moment, for each voice its track, int64 [moments, voices].
    """
    changes: list[Changes] = []
    for window in range(len(tracks.outputs)):
        found: list[tuple[int, Order]] = []
        for frame, moment, outputs in tracks.follow(window, borders):
            order = tuple(outputs[track] for track in orders[moment])
            if not found:
                found.append((0, order))
            elif order != found[-1][1]:
                found.append((max(frame, found[-1][0] + 1), order))
        changes.append(tuple(found))
    return tuple(changes)


def _find_borders(levels_db: Levels, pieces: Pieces) -> list[int]:
    """Returns the frames between which each moment is, with the first frame and the end.

    A border is the softest frame between two moments, of which either may reach into the other.
    """
    loudest_db = levels_db.max(axis=0)
    borders = [0]
    for before, after in itertools.pairwise(pieces.bounds[pieces.firsts].tolist()):
        low, high = before[1], after[0]
        if low >= high:
            low, high = sum(before) // 2, sum(after) // 2
        low = max(low, borders[-1])
        borders.append(low + int(loudest_db[low : max(high, low) + 1].argmin()))
    return [*borders, len(loudest_db)]


def _is_one_in_a_window(heard: npt.NDArray[np.bool_], alone: npt.NDArray[np.bool_]) -> bool:
    alone_s = alone.sum(axis=1) * FRAME_S
    beside_s = float(alone_s.sum() - alone_s.max())
    return beside_s < _MIN_TOGETHER_S and _together_share(heard) < _MIN_TOGETHER_SHARE


def _has_two_voices(
    pieces: Pieces, voices: npt.NDArray[np.int64], num_voices: int, levels_db: Levels
) -> bool:
    """Returns whether two people speak, or more.

    Args:
        pieces: of speech.
        voices: of the pieces, int64 [pieces], if several people speak.
        num_voices: how many that would be.
        levels_db: of the tracks, float32 [tracks, frames].
    """
    spoken_s = float(pieces.weights_s.sum())
    one_voice_s = float(np.linalg.norm(pieces.weighted.sum(axis=0)))
    sums = add_pieces(pieces.weighted, voices, num_voices)
    agreement_s = float(np.linalg.norm(sums, axis=1).sum())
    gain_s = agreement_s - find_alike_s(to_unit(sums)) - one_voice_s
    gain_s += _BOTH_LOUD_GAIN * _both_loud_s(levels_db)
    return gain_s > _TWO_VOICES_GAIN * spoken_s + _CHANCE_GAIN_S


def _both_loud_s(levels_db: Levels) -> float:
    """Returns how long several tracks are loud at once, in seconds."""
    num_loud = (levels_db > loud_level_db(levels_db) - _LOUD_DB).sum(axis=0)
    return float((num_loud > 1).sum() * FRAME_S)


def _together_share(heard: npt.NDArray[np.bool_]) -> float:
    """Returns the share of what is heard at all in which several tracks are."""
    return float((heard.sum(axis=0) > 1).sum() / max(heard.any(axis=0).sum(), 1))


def _has_more_voices(pieces: Pieces, num_voices: int) -> bool:
    """Returns whether so many voices are all unlike each other, and each says enough."""
    if len(pieces.tracks) < num_voices:
        return False
    centroids, weights_s = cluster_pieces(pieces, num_voices)
    cosines = (centroids @ centroids.T)[np.triu_indices(num_voices, 1)]
    enough_s = max(_MIN_VOICE_S, _MIN_VOICE_SHARE * float(weights_s.sum()))
    return bool(cosines.max() < _ANOTHER_VOICE_COSINE and weights_s.min() >= enough_s)


def _in_order_of_onset(
    found: VoiceOrder, levels_db: Levels, framing: Framing, sample_rate: int
) -> VoiceOrder:
    """Numbers the voices by who speaks first, and counts those who speak at all."""
    voices_db = arrange_levels_db(levels_db, found.changes, framing, sample_rate)
    onsets: list[float] = []
    for active in find_active(voices_db):
        stretches = find_stretches(active)
        onsets.append(stretches[0][0] if stretches else np.inf)
    if found.num_voices == 1:
        # Then all outputs are parts of one voice.
        return dataclasses.replace(found, num_voices=int(np.isfinite(min(onsets))))
    numbers = np.argsort(onsets, kind="stable").tolist()
    return dataclasses.replace(
        found,
        changes=tuple(
            tuple((frame, tuple(order[voice] for voice in numbers)) for frame, order in own)
            for own in found.changes
        ),
        num_voices=min(found.num_voices, int(np.isfinite(onsets).sum())),
    )

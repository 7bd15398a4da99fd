"""Voices: whose output is whose where a joint model's outputs swap from window to window.

Nothing in a window tells which of its outputs belongs to which speaker of the recording. So each
output is described by speaker embeddings of the pieces in which its speaker is heard alone, and the
pieces of a whole recording are clustered, with one rule: the outputs of a window are different
people. A network may also change its mind inside a window. With the voices known, each piece says
whose it is, and where the pieces of a window disagree its order changes in the pause between them.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import FRAME_S, find_active, find_stretches
from beam_jobs.separation.held_windows import HeldWindows, Levels
from beam_jobs.separation.voice_embedder import PIECE_S, Embeddings, VoiceEmbedder
from beam_jobs.separation.windows import Framing
from schemas.pcm import Samples

Order = tuple[int, ...]
"""For each voice, the output that has it."""

Changes = tuple[tuple[int, Order], ...]
"""The orders of a window, each from a frame of 20 ms on, ascending from frame 0."""

# An output tells its speaker in the frames that are this close to the loud ones of the recording,
# and this far above the other outputs.
_BELOW_LOUD_DB = 30.0
_ALONE_DB = 6.0
_LOUD_PERCENTILE = 95
_MIN_ALONE_S = 0.5
# Where nobody is alone, what is heard at all tells something, too.
_OVERLAPPED_WEIGHT = 0.25

# Speech is cut where it pauses for so long; what is shorter than a phrase tells too little alone.
_PAUSE_S = 0.3
_MIN_PHRASE_S = 0.4

_NUM_STARTS = 30
_NUM_REFINEMENTS = 3
_MAX_ITERATIONS = 100
# A change of order inside a window has to be worth so many seconds of perfect agreement.
_CHANGE_COST_S = 0.4
_FADE_S = 0.02

# One person, rather than two: hardly ever heard in two outputs of a window, and when the speech is
# divided in two, both halves sound alike. Where there is little of it, they need not be as alike.
_MIN_TOGETHER_S = 0.5
_MIN_TOGETHER_OF_ALONE = 0.005
_ONE_VOICE_COSINE = 0.45
_FEW_PIECES = 5
_ONE_VOICE_COSINE_OF_FEW = 0.25
_STRETCH_PAUSE_S = 0.7
# A network that has learned little leaves everybody in all outputs, so that these sound alike, too.
_UNDIVIDED_SHARE = 0.5
# In a recording of one window, which is not described: sounding together for such a share of it.
_MIN_TOGETHER_SHARE = 0.15

# One voice more than there are outputs: it is unlike all others, and has a share of the speech that
# is larger than that of what a network fails to separate, which sounds like somebody else.
_ANOTHER_VOICE_COSINE = 0.4
_MIN_VOICE_S = 3.0
_MIN_VOICE_SHARE = 0.18

# A window whose order is ahead of the next best one by so many seconds of perfect agreement is e
# times as likely to be right as wrong.
_MARGIN_S = 0.5


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
class _Pieces:
    """Pieces of speech of one output each, in the order of time within each window.

    Attributes:
        windows: int64 [pieces].
        outputs: int64 [pieces].
        bounds: int64 [pieces, 2], the first frame and the last.
        weights_s: float64 [pieces], how long each is heard.
        embeddings: float32 [pieces, dimension].
    """

    windows: npt.NDArray[np.int64]
    outputs: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    weights_s: npt.NDArray[np.float64]
    embeddings: Embeddings

    def of_window(self, window: int) -> slice:
        """The pieces of a window."""
        return slice(*np.searchsorted(self.windows, [window, window + 1]).tolist())

    @property
    def weighted(self) -> npt.NDArray[np.float64]:
        """The embeddings, each as long as its piece, float64 [pieces, dimension]."""
        return self.embeddings * self.weights_s[:, np.newaxis]


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
    heard, alone = _find_alone(levels_db)
    alone_s = np.sort(alone.sum(axis=2) * FRAME_S, axis=1)
    together_s = float(alone_s[:, :-1].sum())
    heard_share = (heard.sum(axis=1) > 1).sum() / max(heard.any(axis=1).sum(), 1)
    as_they_are: Changes = ((0, tuple(range(num_sources))),)
    if num_windows == 1:
        is_one = together_s < _MIN_ALONE_S and heard_share < _MIN_TOGETHER_SHARE
        found = VoiceOrder((as_they_are,), 1 if is_one else num_sources, False, 1.0)
        return _in_order_of_onset(found, levels_db, framing, sample_rate)
    pieces = _describe(held, heard, alone, embedder, sample_rate)
    if not len(pieces.windows):
        found = VoiceOrder((as_they_are,) * num_windows, num_sources, False, 1.0)
        return _in_order_of_onset(found, levels_db, framing, sample_rate)
    enough_s = max(_MIN_TOGETHER_S, _MIN_TOGETHER_OF_ALONE * float(alone_s.sum()))
    is_one = together_s < enough_s and heard_share < _UNDIVIDED_SHARE and _is_one_voice(pieces)
    centroids = _cluster_windows(pieces, num_windows, num_sources)
    for _ in range(_NUM_REFINEMENTS):
        changes, margins_s = _follow(pieces, centroids, levels_db)
        centroids = _centroids(pieces, changes, num_sources)
    weights_s = np.bincount(pieces.windows, pieces.weights_s, num_windows)
    confidences = 1 / (1 + np.exp(-margins_s / _MARGIN_S))
    found = VoiceOrder(
        changes=changes,
        num_voices=1 if is_one else num_sources,
        more_voices=not is_one and _has_more_voices(pieces, num_sources + 1),
        confidence=1.0 if is_one else float(np.average(confidences, weights=weights_s)),
    )
    return _in_order_of_onset(found, levels_db, framing, sample_rate)


def arrange(window: Samples, changes: Changes, sample_rate: int) -> Samples:
    """Puts the outputs of a window in the order of the voices.

    Args:
        window: float32 [sources, length, channels].
        changes: of the window.
        sample_rate: in Hz.

    Returns:
        float32 [voices, length, channels]; an order fades over to the next one in 20 ms.
    """
    arranged = window[list(changes[0][1])]
    frame_length = round(FRAME_S * sample_rate)
    ramp = np.linspace(0, 1, round(_FADE_S * sample_rate), dtype=np.float32)[:, np.newaxis]
    for frame, order in changes[1:]:
        start = frame * frame_length
        after = window[list(order), start:]
        rise = ramp[: after.shape[1]]
        faded = arranged[:, start : start + len(rise)] * (1 - rise) + after[:, : len(rise)] * rise
        arranged[:, start:] = after
        arranged[:, start : start + len(rise)] = faded
    return arranged


def voice_levels_db(
    levels_db: Levels, changes: Sequence[Changes], framing: Framing, sample_rate: int
) -> Levels:
    """Returns the level of each voice in each frame of the recording, float32 [voices, frames].

    Args:
        levels_db: of the outputs, float32 [windows, sources, frames].
        changes: of the windows.
        framing: of the windows.
        sample_rate: in Hz.
    """
    num_windows, num_sources, num_frames = levels_db.shape
    frame_length = round(FRAME_S * sample_rate)
    total = ((num_windows - 1) * framing.hop) // frame_length + num_frames
    samples = (np.arange(total) + 0.5) * frame_length
    # Each frame from the window in whose middle it is.
    windows = ((samples - framing.context - framing.fade / 2) // framing.hop).astype(int)
    windows = np.clip(windows, 0, num_windows - 1)
    frames = ((samples - windows * framing.hop) // frame_length).astype(int)
    orders = np.empty((num_windows, num_sources, num_frames), np.int64)
    for window, own in enumerate(changes):
        for start, order in own:
            orders[window, :, start:] = np.array(order)[:, np.newaxis]
    arranged = np.take_along_axis(levels_db, orders, axis=1)
    return arranged[windows, :, np.clip(frames, 0, num_frames - 1)].T


def _find_alone(levels_db: Levels) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Finds the frames in which each output is heard, and is heard alone.

    Returns:
        bool [windows, sources, frames] each.
    """
    loud_db = np.percentile(levels_db.max(axis=1), _LOUD_PERCENTILE)
    heard = levels_db > loud_db - _BELOW_LOUD_DB
    alone = heard.copy()
    for source in range(levels_db.shape[1]):
        others_db = np.delete(levels_db, source, axis=1).max(axis=1, initial=-np.inf)
        alone[:, source] &= levels_db[:, source] > others_db + _ALONE_DB
    alone &= alone.sum(axis=2, keepdims=True) * FRAME_S >= _MIN_ALONE_S
    return heard, alone


def _describe(
    held: HeldWindows,
    heard: npt.NDArray[np.bool_],
    alone: npt.NDArray[np.bool_],
    embedder: VoiceEmbedder,
    sample_rate: int,
) -> _Pieces:
    """Cuts what is told of each output into pieces, and embeds them."""
    frame_length = round(FRAME_S * sample_rate)
    num_samples = round(PIECE_S * sample_rate)
    places: list[tuple[int, int, int, int, float]] = []
    pending: list[Samples] = []
    embeddings: list[Embeddings] = []
    for window in range(len(held)):
        told, weight = (alone[window], 1.0)
        if not told.any():
            told, weight = heard[window], _OVERLAPPED_WEIGHT
            told = told & (told.sum(axis=1, keepdims=True) * FRAME_S >= _MIN_ALONE_S)
        if not told.any():
            continue
        outputs = held[window].mean(axis=2)
        frames = outputs[:, : told.shape[1] * frame_length].reshape(*told.shape, frame_length)
        found = []
        for output in np.flatnonzero(told.any(axis=1)).tolist():
            for part in _cut(np.flatnonzero(told[output])):
                speech = frames[output, part].ravel()
                place = (window, output, int(part[0]), int(part[-1]))
                found.append(((*place, weight * len(part) * FRAME_S), speech))
        found.sort(key=lambda one: one[0][2] + one[0][3])
        places += [place for place, _ in found]
        # What is shorter is repeated.
        pending += [np.resize(speech, num_samples) for _, speech in found]
        if len(pending) >= 256:
            embeddings.append(embedder.embed(np.stack(pending)))
            pending = []
    if pending:
        embeddings.append(embedder.embed(np.stack(pending)))
    columns = np.array([place[:4] for place in places], np.int64).reshape(-1, 4)
    return _Pieces(
        windows=columns[:, 0],
        outputs=columns[:, 1],
        bounds=columns[:, 2:],
        weights_s=np.array([place[4] for place in places]),
        embeddings=np.concatenate(embeddings) if embeddings else np.zeros((0, 1), np.float32),
    )


def _cut(frames: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Cuts the frames in which an output is told into pieces, in pauses where there are any."""
    pauses = np.flatnonzero(np.diff(frames) * FRAME_S > _PAUSE_S) + 1
    phrases: list[npt.NDArray[np.int64]] = []
    for phrase in np.split(frames, pauses):
        if phrases and min(len(phrase), len(phrases[-1])) * FRAME_S < _MIN_PHRASE_S:
            phrases[-1] = np.concatenate([phrases[-1], phrase])
        else:
            phrases.append(phrase)
    for phrase in phrases:
        yield from np.array_split(phrase, max(1, round(len(phrase) * FRAME_S / PIECE_S)))


def _cluster_windows(
    pieces: _Pieces, num_windows: int, num_sources: int
) -> npt.NDArray[np.float64]:
    """Finds one centroid for each voice, such that the outputs of a window are different voices.

    k-means on the sums of the pieces of each output of each window, of several starts the best.

    Returns:
        float64 [voices, dimension], unit vectors.
    """
    sums = np.zeros((num_windows * num_sources, pieces.embeddings.shape[1]))
    np.add.at(sums, pieces.windows * num_sources + pieces.outputs, pieces.weighted)
    sums = sums.reshape(num_windows, num_sources, -1)
    described = (sums != 0).any(axis=2)
    sums, described = sums[described.any(axis=1)], described[described.any(axis=1)]
    orders = _orders(num_sources)
    generator = np.random.default_rng(0)
    # Windows that tell of all voices are the best places to begin.
    fullest = np.flatnonzero(described.sum(axis=1) == described.sum(axis=1).max())
    best_total, best = -np.inf, np.zeros((num_sources, sums.shape[2]))
    for _ in range(_NUM_STARTS):
        centroids = _unit(sums[generator.choice(fullest)])
        missing = np.flatnonzero(~centroids.any(axis=1))
        if len(missing):
            others = sums[described]
            centroids[missing] = _unit(others[generator.integers(0, len(others), len(missing))])
        total = -np.inf
        for _ in range(_MAX_ITERATIONS):
            scores = _score_orders(sums @ centroids.T, orders)
            chosen = orders[scores.argmax(axis=1)]
            before, total = total, float(scores.max(axis=1).sum())
            if total <= before + 1e-9:
                break
            centroids = _unit(
                np.take_along_axis(sums, chosen[:, :, np.newaxis], axis=1).sum(axis=0)
            )
        if total > best_total:
            best_total, best = total, centroids
    return best


def _follow(
    pieces: _Pieces, centroids: npt.NDArray[np.float64], levels_db: Levels
) -> tuple[tuple[Changes, ...], npt.NDArray[np.float64]]:
    """Follows the voices through each window: the path of orders with the highest score.

    A path costs `_CHANGE_COST_S` for each change (Viterbi's algorithm).

    Returns:
        The changes of each window, and how much better its pieces agree with their order than with
        the next best one, in seconds of perfect agreement, float64 [windows].
    """
    num_windows, num_sources, _ = levels_db.shape
    orders = _orders(num_sources)
    voices_of = np.argsort(orders, axis=1)
    scores = pieces.weighted @ centroids.T
    changes: list[Changes] = []
    margins_s = np.zeros(num_windows)
    order: Order = tuple(range(num_sources))
    for window in range(num_windows):
        own = pieces.of_window(window)
        outputs = pieces.outputs[own]
        if not len(outputs):
            # Nothing tells: as in the window before, which it overlaps.
            changes.append(((0, order),))
            continue
        # [pieces, orders]: the score of each piece for the voice that each order gives it.
        emitted = np.take_along_axis(scores[own], voices_of[:, outputs].T, axis=1)
        best = emitted[0]
        came_from = []
        for row in emitted[1:]:
            stay, change = best, best.max() - _CHANGE_COST_S
            came_from.append(np.where(stay >= change, np.arange(len(orders)), int(best.argmax())))
            best = np.maximum(stay, change) + row
        path = [int(best.argmax())]
        for links in reversed(came_from):
            path.append(int(links[path[-1]]))
        path.reverse()
        chosen = np.arange(len(path)), np.array(path)
        others = emitted.copy()
        others[chosen] = -np.inf
        if len(orders) > 1:
            margins_s[window] = (emitted[chosen] - others.max(axis=1)).sum()
        found = [(0, tuple(orders[path[0]].tolist()))]
        bounds = pieces.bounds[own]
        for number in range(1, len(path)):
            if path[number] != path[number - 1]:
                frame = _find_pause(levels_db[window], bounds[number - 1], bounds[number])
                found.append((max(frame, found[-1][0] + 1), tuple(orders[path[number]].tolist())))
        changes.append(tuple(found))
        order = found[-1][1]
    return tuple(changes), margins_s


def _find_pause(
    levels_db: Levels, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]
) -> int:
    """Finds the softest frame between two pieces, of which either may reach into the other."""
    low, high = int(before[1]), int(after[0])
    if low >= high:
        low, high = int(before.sum() // 2), int(after.sum() // 2)
    high = max(high, low + 1)
    return low + int(levels_db.max(axis=0)[low : high + 1].argmin())


def _centroids(
    pieces: _Pieces, changes: Sequence[Changes], num_sources: int
) -> npt.NDArray[np.float64]:
    """Averages the pieces of each voice, float64 [voices, dimension], unit vectors."""
    middles = pieces.bounds.sum(axis=1) / 2
    voices = np.empty(len(middles), np.int64)
    for number, (window, output) in enumerate(zip(pieces.windows, pieces.outputs, strict=True)):
        order = [order for frame, order in changes[window] if frame <= middles[number]][-1]
        voices[number] = order.index(output)
    sums = np.zeros((num_sources, pieces.embeddings.shape[1]))
    np.add.at(sums, voices, pieces.weighted)
    return _unit(sums)


def _is_one_voice(pieces: _Pieces) -> bool:
    # One odd piece does not make another voice, so what is said without a pause stays together.
    stretches = _join_pieces(pieces)
    if len(stretches.windows) == 1:
        return True
    centroids, _ = _cluster_pieces(stretches, 2)
    is_little = len(pieces.windows) < _FEW_PIECES
    alike = _ONE_VOICE_COSINE_OF_FEW if is_little else _ONE_VOICE_COSINE
    return float(centroids[0] @ centroids[1]) >= alike


def _has_more_voices(pieces: _Pieces, num_voices: int) -> bool:
    """Returns whether so many voices are all unlike each other, and each says enough."""
    if len(pieces.windows) < num_voices:
        return False
    centroids, weights_s = _cluster_pieces(pieces, num_voices)
    cosines = (centroids @ centroids.T)[np.triu_indices(num_voices, 1)]
    enough_s = max(_MIN_VOICE_S, _MIN_VOICE_SHARE * float(weights_s.sum()))
    return bool(cosines.max() < _ANOTHER_VOICE_COSINE and weights_s.min() >= enough_s)


def _join_pieces(pieces: _Pieces) -> _Pieces:
    """Joins the pieces of each output between which there is no long pause and nobody else.

    The embedding of several pieces is their mean, and not as long as a unit vector.
    """
    pauses = pieces.bounds[1:, 0] - pieces.bounds[:-1, 1]
    begins = (pauses * FRAME_S > _STRETCH_PAUSE_S) | (np.diff(pieces.outputs) != 0)
    begins |= np.diff(pieces.windows) != 0
    firsts = np.concatenate([[0], np.flatnonzero(begins) + 1])
    lasts = np.append(firsts[1:], len(pieces.windows)) - 1
    weights_s = np.add.reduceat(pieces.weights_s, firsts)
    sums = np.add.reduceat(pieces.weighted, firsts)
    return _Pieces(
        windows=pieces.windows[firsts],
        outputs=pieces.outputs[firsts],
        bounds=np.stack([pieces.bounds[firsts, 0], pieces.bounds[lasts, 1]], axis=1),
        weights_s=weights_s,
        embeddings=(sums / weights_s[:, np.newaxis]).astype(np.float32),
    )


def _cluster_pieces(
    pieces: _Pieces, num_clusters: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Clusters pieces without the rule of windows: spherical k-means, the best of several starts.

    Returns:
        The centroids, float64 [clusters, dimension], and the seconds of each, float64 [clusters].
    """
    generator = np.random.default_rng(0)
    weighted, num_pieces = pieces.weighted, len(pieces.windows)
    best_total = -np.inf
    best: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    for _ in range(_NUM_STARTS):
        centroids = _unit(weighted[generator.choice(num_pieces, num_clusters, replace=False)])
        total = -np.inf
        for _ in range(_MAX_ITERATIONS):
            scores = weighted @ centroids.T
            labels = scores.argmax(axis=1)
            before, total = total, float(scores.max(axis=1).sum())
            if total <= before + 1e-9:
                break
            sums = np.zeros_like(centroids)
            np.add.at(sums, labels, weighted)
            centroids = _unit(sums)
        if total > best_total:
            best_total = total
            seconds = np.bincount(labels, pieces.weights_s, num_clusters).astype(np.float64)
            best = centroids, seconds
    return best


def _in_order_of_onset(
    found: VoiceOrder, levels_db: Levels, framing: Framing, sample_rate: int
) -> VoiceOrder:
    """Numbers the voices by who speaks first, and counts those who speak at all."""
    voices_db = voice_levels_db(levels_db, found.changes, framing, sample_rate)
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


def _orders(num_sources: int) -> npt.NDArray[np.int64]:
    """All orders, int64 [orders, voices]."""
    return np.array(list(itertools.permutations(range(num_sources))), np.int64)


def _score_orders(
    scores: npt.NDArray[np.float64], orders: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Sums the scores [windows, outputs, voices] for each order, [windows, orders]."""
    total: npt.NDArray[np.float64] = scores[:, orders, np.arange(orders.shape[1])].sum(axis=2)
    return total


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scales vectors [..., dimension] to length 1; those of length 0 stay."""
    unit: npt.NDArray[np.float64] = vectors / np.maximum(
        np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9
    )
    return unit

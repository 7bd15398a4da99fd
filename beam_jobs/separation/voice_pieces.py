"""Pieces of speech, short enough to be of one speaker, and what each sounds like."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import FRAME_S
from beam_jobs.separation.held_windows import Levels
from beam_jobs.separation.tracks import Tracks
from beam_jobs.separation.voice_embedder import PIECE_S, Embeddings, VoiceEmbedder
from schemas.pcm import Samples

# A track tells its speaker in the frames that are this close to the loud ones of the recording,
# and this far above the other tracks.
_BELOW_LOUD_DB = 30.0
_ALONE_DB = 6.0
_LOUD_PERCENTILE = 95

# Speech is cut where it pauses for so long, and what is shorter than a phrase belongs to the one
# before it, unless that is long ago.
_PAUSE_S = 0.3
_SHORT_PHRASE_S = 0.4
_LONG_AGO_S = 1.0
_MIN_PHRASE_S = 0.3
# People follow each other without a pause, too: so pieces are short. But so little tells hardly
# anything, so that each is described with what is around it in its phrase.
_CUT_S = 0.5

# Where nobody is alone for so long, what is heard at all tells something, too.
_LONG_OVERLAP_S = 1.5
_OVERLAPPED_WEIGHT = 0.25

_BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Pieces of speech of one track each, in the order of time.

    Attributes:
        moments: int64 [pieces]: a number for each moment, the same one for what several tracks say
            at once.
        tracks: int64 [pieces].
        bounds: int64 [pieces, 2], the first frame and the last.
        weights_s: float64 [pieces], how long each is heard; less where nobody is alone.
        embeddings: float32 [pieces, dimension].
    """

    moments: npt.NDArray[np.int64]
    tracks: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    weights_s: npt.NDArray[np.float64]
    embeddings: Embeddings

    @property
    def num_moments(self) -> int:
        """The number of moments."""
        return int(self.moments[-1]) + 1 if len(self.moments) else 0

    @property
    def firsts(self) -> npt.NDArray[np.int64]:
        """The first piece of each moment, int64 [moments]."""
        return np.flatnonzero(np.diff(self.moments, prepend=-1))

    @property
    def weighted(self) -> npt.NDArray[np.float64]:
        """The embeddings, each as long as its piece, float64 [pieces, dimension]."""
        return self.embeddings * self.weights_s[:, np.newaxis]


def loud_level_db(levels_db: Levels) -> float:
    """Returns how loud a recording is where it is loud, in dB.

    Args:
        levels_db: of the tracks, float32 [tracks, frames].
    """
    return float(np.percentile(levels_db.max(axis=0), _LOUD_PERCENTILE))


def find_alone(levels_db: Levels) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Finds the frames in which each track is heard, and is heard alone.

    Args:
        levels_db: of the tracks, float32 [tracks, frames].

    Returns:
        bool [tracks, frames] each.
    """
    heard = levels_db > loud_level_db(levels_db) - _BELOW_LOUD_DB
    alone = heard.copy()
    for track in range(len(levels_db)):
        others_db = np.delete(levels_db, track, axis=0).max(axis=0, initial=-np.inf)
        alone[track] &= levels_db[track] > others_db + _ALONE_DB
    return heard, alone


def describe_pieces(
    tracks: Tracks,
    heard: npt.NDArray[np.bool_],
    alone: npt.NDArray[np.bool_],
    embedder: VoiceEmbedder,
) -> Pieces:
    """Cuts what tells of speakers into pieces, and embeds them.

    Args:
        tracks: of the recording.
        heard: in which frames each track is heard, as `find_alone` finds it.
        alone: in which frames it is heard alone.
        embedder: describes voices.
    """
    found = sorted(_find_pieces(heard, alone), key=lambda one: (sum(one.bounds), one.bounds))
    embeddings: list[Embeddings] = []
    for start in range(0, len(found), _BATCH_SIZE):
        batch = [_read(tracks, one) for one in found[start : start + _BATCH_SIZE]]
        # What is shorter is repeated.
        length = round(PIECE_S / FRAME_S) * batch[0].shape[1]
        embeddings.append(embedder.embed(np.stack([np.resize(one, length) for one in batch])))
    bounds = np.array([one.bounds for one in found], np.int64).reshape(-1, 2)
    is_new = (np.diff(bounds, axis=0) != 0).any(axis=1)
    return Pieces(
        moments=np.cumsum(np.append(0, is_new))[: len(found)].astype(np.int64),
        tracks=np.array([one.track for one in found], np.int64),
        bounds=bounds,
        weights_s=np.array([one.weight_s for one in found]),
        embeddings=np.concatenate(embeddings) if embeddings else np.zeros((0, 1), np.float32),
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A piece that has not been embedded.

    Attributes:
        track: its number.
        bounds: the first frame and the last.
        weight_s: how long it is heard.
        told: int64 [frames], those that it is described by.
    """

    track: int
    bounds: tuple[int, int]
    weight_s: float
    told: npt.NDArray[np.int64]


def _find_pieces(heard: npt.NDArray[np.bool_], alone: npt.NDArray[np.bool_]) -> Iterator[_Found]:
    told = np.zeros(heard.shape[1], bool)
    for track, own in enumerate(alone):
        for frames, around in _cut(np.flatnonzero(own)):
            told[frames[0] : frames[-1] + 1] = True
            bounds = int(frames[0]), int(frames[-1])
            yield _Found(track, bounds, len(frames) * FRAME_S, around)
    # What is between pieces.
    edges = np.flatnonzero(np.diff(told, prepend=True, append=True))
    for start, stop in edges.reshape(-1, 2).tolist():
        if (stop - start) * FRAME_S > _LONG_OVERLAP_S:
            yield from _cut_overlap(heard, start, stop)


def _cut(
    frames: npt.NDArray[np.int64],
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Cuts the frames in which a track is alone, in pauses where there are any.

    Yields:
        The frames of each piece, and those of its phrase that describe it.
    """
    phrases: list[npt.NDArray[np.int64]] = []
    for phrase in np.split(frames, np.flatnonzero(np.diff(frames) * FRAME_S > _PAUSE_S) + 1):
        if (
            phrases
            and min(len(phrase), len(phrases[-1])) * FRAME_S < _SHORT_PHRASE_S
            and (phrase[0] - phrases[-1][-1]) * FRAME_S < _LONG_AGO_S
        ):
            phrases[-1] = np.concatenate([phrases[-1], phrase])
        else:
            phrases.append(phrase)
    for phrase in phrases:
        if len(phrase) * FRAME_S < _MIN_PHRASE_S:
            continue
        length = min(round(PIECE_S / FRAME_S), len(phrase))
        edges = np.linspace(0, len(phrase), max(1, round(len(phrase) * FRAME_S / _CUT_S)) + 1)
        for start, stop in itertools.pairwise(edges.round().astype(int).tolist()):
            first = min(max((start + stop - length) // 2, 0), len(phrase) - length)
            yield phrase[start:stop], phrase[min(first, start) : max(first + length, stop)]


def _cut_overlap(heard: npt.NDArray[np.bool_], start: int, stop: int) -> Iterator[_Found]:
    """Cuts a stretch in which nobody is alone, where two or more tracks are heard."""
    count = max(1, round((stop - start) * FRAME_S / PIECE_S))
    edges = np.linspace(start, stop, count + 1).astype(int).tolist()
    for first, end in itertools.pairwise(edges):
        told = {
            track: frames + first
            for track, own in enumerate(heard[:, first:end])
            if len(frames := np.flatnonzero(own)) * FRAME_S >= _MIN_PHRASE_S
        }
        if len(told) > 1:
            for track, frames in told.items():
                weight_s = _OVERLAPPED_WEIGHT * len(frames) * FRAME_S
                yield _Found(track, (first, end - 1), weight_s, frames)


def _read(tracks: Tracks, piece: _Found) -> Samples:
    """Returns the audio that describes a piece, float32 [frames, samples]."""
    start, stop = int(piece.told[0]), int(piece.told[-1]) + 1
    audio: Samples = tracks.read(start, stop)[piece.track, piece.told - start]
    return audio

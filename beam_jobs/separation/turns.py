"""Who speaks when, from the separated outputs, as RTTM.

RTTM is NIST's format of the Rich Transcription evaluations (RT-09 evaluation plan, appendix A): a
line for each stretch of speech, `SPEAKER file channel onset duration <NA> <NA> name <NA> <NA>`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import UserError
from schemas.pcm import Samples

FRAME_S = 0.02
# An output is silent where it is below this level, or this far below its own loud speech, which is
# the level that only a frame in twenty of those above the first exceeds.
_FLOOR_DBFS = -60.0
_BELOW_LOUD_DB = 30.0
_LOUD_PERCENTILE = 95
# What is this far below another output is more likely what is left of that one.
_BELOW_OTHERS_DB = 15.0
# Pauses within a sentence are speech, clicks are not.
_MIN_PAUSE_S = 0.3
_MIN_SPEECH_S = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of speech of one speaker.

    Attributes:
        speaker: the name of the output.
        onset_s: where it begins, in seconds.
        duration_s: how long it is, in seconds.
        channel: of the recording, from 1.
    """

    speaker: str
    onset_s: float
    duration_s: float
    channel: int = 1


class Activity:
    """Listens to outputs that come in blocks; it keeps a level for every 20 ms, and no samples."""

    def __init__(self, sample_rate: int) -> None:
        self._frame_length = round(FRAME_S * sample_rate)
        self._sample_rate = sample_rate
        self._rest: Samples | None = None
        self._levels_db: list[npt.NDArray[np.float32]] = []

    def add(self, block: Samples) -> None:
        """Takes the next float32 [sources, samples]."""
        if self._rest is not None:
            block = np.concatenate([self._rest, block], axis=1)
        num_frames = block.shape[1] // self._frame_length
        used = num_frames * self._frame_length
        frames = block[:, :used].reshape(len(block), num_frames, self._frame_length)
        power = np.square(frames).mean(axis=2)
        self._levels_db.append((10 * np.log10(power + 1e-12)).astype(np.float32))
        self._rest = block[:, used:].copy()

    def turns(self, speakers: Sequence[str], channel: int = 1) -> list[Turn]:
        """All turns, by onset; what is shorter than a frame at the end is left out."""
        levels_db = np.concatenate(self._levels_db, axis=1)
        frame_s = self._frame_length / self._sample_rate
        turns = [
            Turn(speaker, start * frame_s, (stop - start) * frame_s, channel)
            for speaker, active in zip(speakers, find_active(levels_db), strict=True)
            for start, stop in find_stretches(active)
        ]
        return sorted(turns, key=lambda turn: (turn.onset_s, turn.speaker))


def find_active(levels_db: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether each output is heard in each frame, from levels in dBFS; both [sources, frames]."""
    loudest_db = levels_db.max(axis=0)
    active = np.zeros(levels_db.shape, np.bool_)
    for row, level_db in zip(active, levels_db, strict=True):
        audible = level_db > _FLOOR_DBFS
        if audible.any():
            loud_db = np.percentile(level_db[audible], _LOUD_PERCENTILE)
            row[:] = (
                audible
                & (level_db > loud_db - _BELOW_LOUD_DB)
                & (level_db > loudest_db - _BELOW_OTHERS_DB)
            )
    return active


def find_stretches(active: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The (start, stop) of each stretch of frames, short pauses filled, short stretches dropped."""
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
    stretches: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if stretches and (start - stretches[-1][1]) * FRAME_S < _MIN_PAUSE_S:
            stretches[-1] = (stretches[-1][0], stop)
        else:
            stretches.append((start, stop))
    return [(start, stop) for start, stop in stretches if (stop - start) * FRAME_S >= _MIN_SPEECH_S]


def parse_rttm(text: str) -> list[Turn]:
    """The turns in an RTTM file; its other types of lines are passed over.

    Raises:
        UserError: not RTTM.
    """
    turns = []
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["SPEAKER"]:
            try:
                turn = Turn(fields[7], float(fields[3]), float(fields[4]), int(fields[2]))
            except (IndexError, ValueError):
                raise UserError(f"not RTTM: {line!r}") from None
            turns.append(turn)
    return turns


def format_rttm(file_id: str, turns: Sequence[Turn]) -> str:
    """The content of an RTTM file."""
    name = "_".join(file_id.split())
    return "".join(
        f"SPEAKER {name} {turn.channel} {turn.onset_s:.3f} {turn.duration_s:.3f} <NA> <NA> "
        f"{turn.speaker} <NA> <NA>\n"
        for turn in turns
    )

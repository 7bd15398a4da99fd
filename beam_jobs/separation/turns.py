"""Turns, the stretches in which each speaker speaks, from separated outputs and in RTTM.

RTTM is NIST's format of the Rich Transcription evaluations (RT-09 evaluation plan, appendix A): a
line for each stretch of speech, `SPEAKER file channel onset duration <NA> <NA> name <NA> <NA>`.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import FRAME_S, find_active, find_stretches, frame_levels_db
from beam_jobs.storage.text import parse_number
from schemas.errors import UserError
from schemas.pcm import Samples

# What corpora of telephone calls, and programs that have one channel only, write for a number.
_CHANNELS = {"A": "1", "B": "2", "<NA>": "1"}


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of speech of one speaker.

    Attributes:
        speaker: the name of the output.
        onset_s: its beginning, in seconds.
        duration_s: its length, in seconds.
        channel: of the recording, from 1.
    """

    speaker: str
    onset_s: float
    duration_s: float
    channel: int = 1


class TurnFinder:
    """Finds the turns in outputs that come in blocks; keeps a level a frame, and no samples."""

    def __init__(self, sample_rate: int) -> None:
        self._frame_length = round(FRAME_S * sample_rate)
        self._sample_rate = sample_rate
        self._rest: Samples | None = None
        self._levels_db: list[npt.NDArray[np.float32]] = []

    def add(self, block: Samples) -> None:
        """Listens to the next block of the outputs, float32 [sources, samples]."""
        if self._rest is not None:
            block = np.concatenate([self._rest, block], axis=1)
        levels_db = frame_levels_db(block, self._frame_length)
        self._levels_db.append(levels_db)
        self._rest = block[:, levels_db.shape[1] * self._frame_length :].copy()

    def find_turns(self, speakers: Sequence[str], channel: int = 1) -> list[Turn]:
        """Finds the turns in all blocks so far, by onset; a last part of a frame is left out.

        Args:
            speakers: the names of the outputs.
            channel: of the recording that the outputs were separated from, from 1.
        """
        levels_db = np.concatenate(self._levels_db, axis=1)
        frame_s = self._frame_length / self._sample_rate
        turns = [
            Turn(speaker, start * frame_s, (stop - start) * frame_s, channel)
            for speaker, active in zip(speakers, find_active(levels_db), strict=True)
            for start, stop in find_stretches(active)
        ]
        return sorted(turns, key=lambda turn: (turn.onset_s, turn.speaker))


def parse_rttm(text: str) -> list[Turn]:
    """Reads the turns in an RTTM file; lines of types other than SPEAKER are skipped.

    Raises:
        UserError: a SPEAKER line is not RTTM.
    """
    return [turn for _, turn in parse_rttm_lines(text.splitlines())]


def parse_rttm_lines(lines: Iterable[str]) -> Iterator[tuple[str, Turn]]:
    """Yields the turns in the lines of an RTTM file, each after the name of its recording.

    Lines of types other than SPEAKER, comments among them, are skipped.

    Raises:
        UserError: a SPEAKER line is not RTTM; the message has its number.
    """
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if fields[:1] == ["SPEAKER"]:
            turn = _parse_turn(fields)
            if turn is None:
                raise UserError(f"line {number}: not RTTM: {line.rstrip()!r}")
            yield fields[1], turn


def _parse_turn(fields: Sequence[str]) -> Turn | None:
    if len(fields) < 8:
        return None
    channel = _CHANNELS.get(fields[2], fields[2])
    if not re.fullmatch("[0-9]+", channel):
        return None
    onset_s, duration_s = map(parse_number, fields[3:5])
    if onset_s is None or duration_s is None or duration_s < 0:
        return None
    return Turn(fields[7], onset_s, duration_s, int(channel))


def format_rttm(file_id: str, turns: Sequence[Turn]) -> str:
    """Formats the turns of a recording as the content of an RTTM file.

    Args:
        file_id: the name of the recording; white space becomes `_`.
        turns: of all channels, in the order of the lines.
    """
    name = "_".join(file_id.split())
    return "".join(
        f"SPEAKER {name} {turn.channel} {turn.onset_s:.3f} {turn.duration_s:.3f} <NA> <NA> "
        f"{turn.speaker} <NA> <NA>\n"
        for turn in turns
    )

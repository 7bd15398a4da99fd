"""Segments: the turns of an archive's speakers as manifests for speech recognisers.

NVIDIA NeMo's has a line for each segment, a JSON object with `audio_filepath`, `offset` and
`duration` in seconds, and `speaker`. Lhotse's has a cut for each.
"""

import bisect
import collections
import contextlib
import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.audio.decoding import read_header
from beam_jobs.audio.lhotse import channel_field, describe_cut, describe_recording
from beam_jobs.separation.ledger import list_recordings, read_record
from beam_jobs.separation.turns import Turn, parse_rttm
from beam_jobs.storage import files
from schemas.ledger import CUTS, SEGMENTS, LedgerRecord

# A speaker who pauses for no longer than this goes on in the same segment.
_MAX_PAUSE_S = 0.5
# Times in RTTM are rounded to this.
_RESOLUTION_S = 0.001


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one speaker's output for a recogniser to transcribe.

    Attributes:
        speaker: the name of the output.
        offset_s: its beginning, in seconds.
        duration_s: its length, in seconds.
        overlapped: whether somebody else speaks in it, too.
    """

    speaker: str
    offset_s: float
    duration_s: float
    overlapped: bool


def find_segments(turns: Sequence[Turn], max_segment_s: float) -> list[Segment]:
    """Merges the turns of each speaker over short pauses, and divides those that are too long.

    Args:
        turns: of one recording; those of a speaker do not overlap each other.
        max_segment_s: the greatest length of a segment.

    Returns:
        The segments by offset. A long turn without a pause is divided into equal parts.
    """
    by_speaker: dict[str, list[tuple[float, float]]] = {}
    for turn in sorted(turns, key=lambda turn: turn.onset_s):
        spans = by_speaker.setdefault(turn.speaker, [])
        spans.append((turn.onset_s, turn.onset_s + turn.duration_s))
    segments = []
    for speaker, spans in by_speaker.items():
        others = [own for name, own in by_speaker.items() if name != speaker]
        for start_s, stop_s in _divide(_merge(spans, max_segment_s), max_segment_s):
            overlapped = any(_are_in(own, start_s, stop_s) for own in others)
            segments.append(Segment(speaker, start_s, stop_s - start_s, overlapped))
    return sorted(segments, key=lambda segment: (segment.offset_s, segment.speaker))


def write_segments(output: str, source_names: Sequence[str], max_segment_s: float) -> int:
    """Writes `segments.jsonl` and `cuts.jsonl`, of all recordings in an archive's ledger.

    Args:
        output: the folder of the archive.
        source_names: the names of the model's outputs.
        max_segment_s: the greatest length of a segment.

    Returns:
        The number of recordings that are left out: their records, outputs or RTTM files can't be
        read, were never written, or do not say which output a turn is in.

    Raises:
        OSError: a file can't be written.
    """
    num_left_out = 0
    with contextlib.ExitStack() as stack:
        segments_file, cuts_file = (
            stack.enter_context(files.write_atomically(files.join(output, name)))
            for name in (SEGMENTS, CUTS)
        )
        for relative_path in sorted(list_recordings(output)):
            try:
                record = read_record(output, relative_path)
                turns = _read_turns(output, record, source_names)
                # All outputs of a recording are alike.
                header = read_header(files.join(output, record.outputs[0].path))
            except (ValueError, OSError):
                turns = None
            if turns is None:
                num_left_out += 1
                continue
            path_of = {
                name: one.path for name, one in zip(source_names, record.outputs, strict=True)
            }
            numbers: collections.Counter[str] = collections.Counter()
            for segment in find_segments(turns, max_segment_s):
                relative, number = path_of[segment.speaker], numbers[segment.speaker]
                numbers[segment.speaker] += 1
                path = files.join(output, relative)
                recording = describe_recording(relative, path, header)
                segments_file.write(_line(_describe_for_nemo(segment, path)))
                cuts_file.write(
                    _line(_describe_for_lhotse(segment, f"{relative}-{number}", recording))
                )
    return num_left_out


def _read_turns(
    output: str, record: LedgerRecord, source_names: Sequence[str]
) -> list[Turn] | None:
    """Returns the turns of a recording; None if it is not known which output each of them is in."""
    if record.rttm is None or len(record.outputs) != len(source_names):
        return None
    turns = parse_rttm(files.read_text(files.join(output, record.rttm.path)))
    # With `--channels each`, an output has several speakers, each on a channel.
    if any(turn.channel != 1 or turn.speaker not in source_names for turn in turns):
        return None
    return turns


def _merge(spans: Sequence[tuple[float, float]], max_s: float) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start_s, stop_s in spans:
        if merged:
            before_s, pause_s = merged[-1][0], start_s - merged[-1][1]
            if pause_s <= _MAX_PAUSE_S and stop_s - before_s <= max_s:
                merged[-1] = before_s, stop_s
                continue
        merged.append((start_s, stop_s))
    return merged


def _divide(spans: Sequence[tuple[float, float]], max_s: float) -> Iterator[tuple[float, float]]:
    for start_s, stop_s in spans:
        num_parts = max(1, math.ceil((stop_s - start_s - _RESOLUTION_S) / max_s))
        edges_s = [
            start_s + (stop_s - start_s) * number / num_parts for number in range(num_parts + 1)
        ]
        yield from itertools.pairwise(edges_s)


def _are_in(spans: Sequence[tuple[float, float]], start_s: float, stop_s: float) -> bool:
    """Returns whether any of some spans, ascending and apart, reaches into another span."""
    before = bisect.bisect_left(spans, stop_s - _RESOLUTION_S, key=lambda span: span[0])
    return before > 0 and spans[before - 1][1] > start_s + _RESOLUTION_S


def _describe_for_nemo(segment: Segment, path: str) -> dict[str, Any]:
    return {
        "audio_filepath": path,
        "offset": round(segment.offset_s, 3),
        "duration": round(segment.duration_s, 3),
        "speaker": segment.speaker,
        **({"overlapped": True} if segment.overlapped else {}),
    }


def _describe_for_lhotse(
    segment: Segment, name: str, recording: Mapping[str, Any]
) -> dict[str, Any]:
    duration_s = round(segment.duration_s, 3)
    supervision = {
        "id": name,
        "recording_id": recording["id"],
        "start": 0.0,
        "duration": duration_s,
        "channel": channel_field(len(recording["channel_ids"])),
        "speaker": segment.speaker,
        **({"custom": {"overlapped": True}} if segment.overlapped else {}),
    }
    start_s = round(segment.offset_s, 3)
    return describe_cut(
        name, recording, start_s=start_s, duration_s=duration_s, supervisions=[supervision]
    )


def _line(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document) + "\n").encode()

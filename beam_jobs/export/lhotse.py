"""The manifests of Lhotse: for each split its recordings, supervisions, and cuts.

A cut is a mixture; its sources, its noise and what became of it on its transmission are recordings
in fields of their own, such as `cut.load_first_speaker()`. An enrolment has another length than
its cut, and is read by `cut.first_speaker_enrolment.load_audio()`. A supervision is an utterance in
the mixture.

Source: https://lhotse.readthedocs.io, "Representing a corpus" and "Cuts".
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_jobs.audio.lhotse import channel_field, describe_cut, describe_recording
from beam_jobs.audio.types import AudioHeader
from beam_jobs.export import folders
from beam_jobs.export.layout import (
    DEGRADED,
    ENROLMENT,
    Export,
    ExportLayout,
    Table,
    TableEntry,
    source_names,
)

_GENDERS = {"f": "female", "m": "male", "unknown": None}


def tables(export: Export, split: str) -> Sequence[Table]:
    """Returns the three manifests, under the names by which Lhotse's own recipes find them."""

    def recordings(entry: TableEntry) -> str:
        return _line(_recording(export, split, entry, "mixture"))

    def supervisions(entry: TableEntry) -> str:
        return "".join(map(_line, _supervisions(export, entry)))

    def cuts(entry: TableEntry) -> str:
        return _line(_cut(export, split, entry))

    kinds = {"recordings": recordings, "supervisions": supervisions, "cuts": cuts}
    name = export.described.name
    return [Table(f"{name}_{kind}_{split}.jsonl", lines) for kind, lines in kinds.items()]


def _cut(export: Export, split: str, entry: TableEntry) -> dict[str, Any]:
    kinds = {"noise": export.has_noise, DEGRADED: export.has_degraded}
    there = (kind for kind, is_there in kinds.items() if is_there)
    names = source_names(export.described)[: len(entry.speakers)]
    parts = [*names, *there]
    if export.enrolment_samples:
        parts += [f"{name}_{ENROLMENT}" for name in names]
    return describe_cut(
        entry.name,
        _recording(export, split, entry, "mixture"),
        start_s=0.0,
        duration_s=entry.num_samples / export.described.sample_rate,
        supervisions=_supervisions(export, entry),
        custom={part: _recording(export, split, entry, part) for part in parts},
    )


def _recording(export: Export, split: str, entry: TableEntry, part: str) -> dict[str, Any]:
    is_enrolment = part.endswith(f"_{ENROLMENT}")
    header = AudioHeader(
        export.described.sample_rate,
        export.enrolment_samples if is_enrolment else entry.num_samples,
        export.described.num_channels,
    )
    path = export.path(f"{split}/{entry.name}/{part}.{export.audio_format}")
    name = entry.name if part == "mixture" else f"{entry.name}-{part}"
    return describe_recording(name, path, header)


def _supervisions(export: Export, entry: TableEntry) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{entry.name}-{number}",
            "recording_id": entry.name,
            "start": stretch.start_s,
            "duration": stretch.duration_s,
            "channel": channel_field(export.described.num_channels),
            "speaker": entry.speakers[stretch.source],
            "gender": _GENDERS[entry.genders[stretch.source]],
            **{name: said for name in ("text", "language") if (said := getattr(stretch, name))},
            "custom": {"source": stretch.source},
        }
        for number, stretch in enumerate(entry.speech)
    ]


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False) + "\n"


LAYOUT = ExportLayout("lhotse", "flac", folders.audio, tables=tables)

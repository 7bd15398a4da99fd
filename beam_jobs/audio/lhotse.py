"""Recordings and cuts as Lhotse's manifests describe them.

Source: https://lhotse.readthedocs.io, "Representing a corpus" and "Cuts".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from beam_jobs.audio.types import AudioHeader
from beam_jobs.storage import files


def describe_recording(recording_id: str, path: str, header: AudioHeader) -> dict[str, Any]:
    """Describes an audio file.

    Args:
        recording_id: names it in the manifest.
        path: of the file, absolute, as Lhotse's own recipes write it: Lhotse opens it from wherever
            it runs.
        header: of the file.
    """
    channels = list(range(header.num_channels))
    return {
        "id": recording_id,
        "sources": [
            {
                "type": "url" if files.is_remote(path) else "file",
                "channels": channels,
                "source": path,
            }
        ],
        "sampling_rate": header.sample_rate,
        "num_samples": header.num_frames,
        "duration": header.num_frames / header.sample_rate,
        "channel_ids": channels,
    }


def describe_cut(
    cut_id: str,
    recording: Mapping[str, Any],
    *,
    start_s: float,
    duration_s: float,
    supervisions: Sequence[Mapping[str, Any]],
    custom: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describes a part of a recording, with all its channels.

    Args:
        cut_id: names it in the manifest.
        recording: as `describe_recording` has it.
        start_s: where it begins in the recording, in seconds.
        duration_s: its length, in seconds.
        supervisions: what is said in it; they count their time from where the cut starts.
        custom: fields of its own.
    """
    num_channels = len(recording["channel_ids"])
    return {
        "id": cut_id,
        "start": start_s,
        "duration": duration_s,
        "channel": channel_field(num_channels),
        "supervisions": supervisions,
        "recording": recording,
        **({} if custom is None else {"custom": custom}),
        "type": "MonoCut" if num_channels == 1 else "MultiCut",
    }


def channel_field(num_channels: int) -> int | list[int]:
    """Returns the `channel` of a cut or a supervision that has all channels of its recording."""
    return 0 if num_channels == 1 else list(range(num_channels))

"""Lhotse's manifests: cuts, or supervisions beside their recordings, as JSONL, gzipped or not.

Source: Lhotse, "Representing a corpus" and "Cuts".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.corpora.layout import Candidate, Corpus, parse_gender
from beam_jobs.corpora.manifest import (
    BadLineError,
    channel_field,
    corpus_path,
    duration_field,
    first_object,
    object_field,
    objects_field,
    parse_object,
    read_candidates,
    read_lines,
    seconds_field,
    shown,
    text_field,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.errors import UserError

NAME = "lhotse"
LICENSES: tuple[str, ...] = ()

# The field of what is read for two recordings that have one id.
_AMBIGUOUS = "ambiguous"


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns whether `--corpus` names a JSONL file of cuts or of supervisions."""
    del sampled_paths
    fields = first_object(corpus)
    return "supervisions" in fields or "recording_id" in fields


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every supervision, under its own id."""
    path = files.join(corpus.root, corpus.manifest)
    recordings = None if "supervisions" in first_object(corpus) else _read_recordings(path)

    def parse(line: str) -> Iterator[Candidate]:
        fields = parse_object(line)
        if recordings is not None:
            recording_id = text_field(fields, "recording_id")
            if recording_id not in recordings:
                raise BadLineError(f"no recording {recording_id!r} in the manifest of recordings")
            if _AMBIGUOUS in recordings[recording_id]:
                raise BadLineError(f"two different recordings {recording_id!r} in their manifest")
            yield _candidate(corpus, fields, recordings[recording_id], cut_start_s=0.0)
            return
        recording = object_field(fields, "recording")
        for supervision in objects_field(fields, "supervisions"):
            # A supervision counts its time from where its cut starts.
            cut_start_s = seconds_field(fields, "start")
            of_cut = {"channel": fields["channel"]} if "channel" in fields else {}
            yield _candidate(corpus, of_cut | supervision, recording, cut_start_s)

    return read_candidates(path, parse)


def _candidate(
    corpus: Corpus,
    supervision: Mapping[str, Any],
    recording: Mapping[str, Any],
    cut_start_s: float,
) -> Candidate:
    sources = objects_field(recording, "sources")
    kinds = {str(source.get("type")) for source in sources}
    if kinds != {"file"} or recording.get("transforms"):
        raise BadLineError("not a plain file, but computed or fetched: store it as a file")
    source, channel = _find_channel(sources, channel_field(supervision.get("channel")))
    start_s = cut_start_s + seconds_field(supervision, "start")
    return Candidate(
        path=corpus_path(corpus, text_field(source, "source")),
        utterance=text_field(supervision, "id"),
        speaker=text_field(supervision, "speaker"),
        gender=parse_gender(str(supervision.get("gender") or "")),
        start_s=start_s,
        stop_s=start_s + duration_field(supervision, "duration"),
        channel=channel,
        text=supervision.get("text"),
        language=supervision.get("language"),
    )


def _find_channel(
    sources: Sequence[Mapping[str, Any]], channel: int | None
) -> tuple[Mapping[str, Any], int]:
    """Finds a channel of a recording.

    Args:
        sources: the files of the recording, each with the numbers of the channels that it has.
        channel: the number of the channel; None if the supervision has none.

    Returns:
        The file, and the index of the channel in it.

    Raises:
        BadLineError: there is no such channel, or there are several to choose from.
    """
    places = [
        (number, source, index)
        for source in sources
        for index, number in enumerate(_channels_of(source))
    ]
    if channel is None and len(places) != 1:
        raise BadLineError("one channel of several, and no 'channel' in the supervision")
    for number, source, index in places:
        if channel in (None, number):
            return source, index
    raise BadLineError(f"no channel {channel} in its recording")


def _channels_of(source: Mapping[str, Any]) -> list[Any]:
    channels = source.get("channels", [0])
    if not isinstance(channels, list):
        raise BadLineError(f"'channels' is not a list: {shown(channels)}")
    return channels


def _read_recordings(supervisions_path: str) -> dict[str, dict[str, Any]]:
    """Reads the manifest of recordings beside one of supervisions, by their ids."""
    folder, slash, name = supervisions_path.rpartition("/")
    path = folder + slash + name.replace("supervisions", "recordings")
    if path == supervisions_path or not files.exists(path):
        raise UserError(
            f"--corpus={supervisions_path}: no manifest of its recordings beside it: name"
            " *_supervisions_*.jsonl where *_recordings_*.jsonl is too, or a manifest of cuts"
        )
    recordings: dict[str, dict[str, Any]] = {}
    for line in read_lines(path):
        try:
            fields = parse_object(line)
            recording_id = text_field(fields, "id")
        except BadLineError:
            # A supervision that refers to it is rejected, with the id.
            continue
        if recordings.setdefault(recording_id, fields) != fields:
            recordings[recording_id] = {"id": recording_id, _AMBIGUOUS: True}
    return recordings

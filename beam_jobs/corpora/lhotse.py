"""Lhotse's manifests: cuts, or supervisions beside their recordings, as JSONL, gzipped or not.

Source: Lhotse, "Representing a corpus" and "Cuts".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.corpora.layout import Candidate, Corpus, parse_gender
from beam_jobs.corpora.manifest import (
    BadLineError,
    corpus_path,
    first_object,
    object_field,
    objects_field,
    parse_object,
    read_candidates,
    read_lines,
    seconds_field,
    text_field,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.errors import UserError

NAME = "lhotse"


def recognises(corpus: Corpus, first_paths: Sequence[str]) -> bool:
    """Returns whether `--corpus` names a JSONL file of cuts or of supervisions."""
    del first_paths
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
            yield _candidate(corpus, fields, recordings[recording_id], cut_start_s=0.0)
            return
        recording = object_field(fields, "recording")
        for supervision in objects_field(fields, "supervisions"):
            # A supervision counts its time from where its cut starts.
            yield _candidate(corpus, supervision, recording, seconds_field(fields, "start"))

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
    if len(sources) > 1 or sources[0].get("channels", [0]) != [0]:
        raise BadLineError("one channel of several: store each channel as a file")
    start_s = cut_start_s + seconds_field(supervision, "start")
    return Candidate(
        path=corpus_path(corpus, text_field(sources[0], "source")),
        utterance=text_field(supervision, "id"),
        speaker=text_field(supervision, "speaker"),
        gender=parse_gender(str(supervision.get("gender") or "")),
        start_s=start_s,
        stop_s=start_s + seconds_field(supervision, "duration"),
    )


def _read_recordings(supervisions_path: str) -> dict[str, dict[str, Any]]:
    """Reads the manifest of recordings beside one of supervisions, by their ids."""
    folder, slash, name = supervisions_path.rpartition("/")
    path = folder + slash + name.replace("supervisions", "recordings")
    if path == supervisions_path or not files.exists(path):
        raise UserError(
            f"--corpus={supervisions_path}: no manifest of its recordings beside it: name"
            " *_supervisions_*.jsonl where *_recordings_*.jsonl is too, or a manifest of cuts"
        )
    recordings = {}
    for line in read_lines(path):
        try:
            fields = parse_object(line)
            recordings[text_field(fields, "id")] = fields
        except BadLineError:
            # A supervision that refers to it is rejected, with the id.
            continue
    return recordings

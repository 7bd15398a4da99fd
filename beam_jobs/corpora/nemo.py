"""NeMo's manifests: a JSON object a line, which must have the name of a speaker.

Source: NVIDIA NeMo, "Preparing Custom ASR Data" and "Speaker Recognition: Datasets".
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.corpora.layout import Candidate, Corpus, parse_gender
from beam_jobs.corpora.manifest import (
    BadLineError,
    channel_field,
    corpus_path,
    duration_field,
    first_object,
    parse_object,
    read_candidates,
    read_lines,
    seconds_field,
    text_field,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "nemo"
LICENSES: tuple[str, ...] = ()

_CHANNEL_FIELDS = ("channel_selector", "channel")


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns whether `--corpus` names a JSONL file with `audio_filepath`."""
    del sampled_paths
    return "audio_filepath" in first_object(corpus)


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance; its id is its path without the suffix, its time range and channel.

    Where a manifest gives some utterances a channel, those in files with several need one.
    """
    path_of_manifest = files.join(corpus.root, corpus.manifest)
    needs_channel = any(_gives_channel(line) for line in read_lines(path_of_manifest))

    def parse(line: str) -> Iterator[Candidate]:
        fields = parse_object(line)
        path = corpus_path(corpus, text_field(fields, "audio_filepath"))
        speaker = text_field(fields, "speaker", "label")
        gender = parse_gender(str(fields.get("gender", "")))
        utterance = os.path.splitext(path)[0]
        start_s, stop_s = 0.0, None
        duration_s = None if fields.get("duration") is None else duration_field(fields, "duration")
        # Without an offset, the duration is only the rounded length of the file.
        if fields.get("offset") is not None:
            start_s = seconds_field(fields, "offset")
            stop_s = start_s + (duration_s or duration_field(fields, "duration"))
            utterance += f"-{start_s:.2f}-{stop_s:.2f}"
        channel = _channel(fields)
        if channel is not None:
            utterance += f"-ch{channel}"
        yield Candidate(
            path,
            utterance,
            speaker,
            gender,
            start_s=start_s,
            stop_s=stop_s,
            channel=channel,
            needs_channel=needs_channel and not _names_channels(fields),
            text=fields.get("text"),
            language=fields.get("lang"),
        )

    return read_candidates(path_of_manifest, parse)


def _gives_channel(line: str) -> bool:
    # Most manifests have no channels, and parsing all of them twice takes time.
    if not any(f'"{name}"' in line for name in _CHANNEL_FIELDS):
        return False
    try:
        return _channel(parse_object(line)) is not None
    except BadLineError:
        return False


def _names_channels(fields: Mapping[str, Any]) -> bool:
    return any(fields.get(name) is not None for name in _CHANNEL_FIELDS)


def _channel(fields: Mapping[str, Any]) -> int | None:
    for name in _CHANNEL_FIELDS:
        # NeMo's own word for mixing the channels down.
        if fields.get(name) not in (None, "average"):
            return channel_field(fields[name])
    return None

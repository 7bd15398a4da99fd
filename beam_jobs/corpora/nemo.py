"""NeMo's manifests: a JSON object a line, which must have the name of a speaker.

Source: NVIDIA NeMo, "Preparing Custom ASR Data" and "Speaker Recognition: Datasets".
"""

import os
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, parse_gender
from beam_jobs.corpora.manifest import (
    corpus_path,
    first_object,
    parse_object,
    read_candidates,
    seconds_field,
    text_field,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "nemo"


def recognises(corpus: Corpus, first_paths: Sequence[str]) -> bool:
    """Returns whether `--corpus` names a JSONL file with `audio_filepath`."""
    del first_paths
    return "audio_filepath" in first_object(corpus)


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance; its id is its path without the suffix, and its time range if any."""

    def parse(line: str) -> Iterator[Candidate]:
        fields = parse_object(line)
        path = corpus_path(corpus, text_field(fields, "audio_filepath"))
        speaker = text_field(fields, "speaker", "label")
        gender = parse_gender(str(fields.get("gender", "")))
        utterance = os.path.splitext(path)[0]
        # Without an offset, the duration is only the rounded length of the file.
        if fields.get("offset") is None:
            yield Candidate(path, utterance, speaker, gender)
            return
        start_s = seconds_field(fields, "offset")
        stop_s = start_s + seconds_field(fields, "duration")
        utterance += f"-{start_s:.2f}-{stop_s:.2f}"
        yield Candidate(path, utterance, speaker, gender, start_s=start_s, stop_s=stop_s)

    return read_candidates(files.join(corpus.root, corpus.manifest), parse)

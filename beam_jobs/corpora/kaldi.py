"""Kaldi's data folders: `wav.scp`, `utt2spk`, and if there are any, `segments` and `spk2gender`.

Source: https://kaldi-asr.org/doc/data_prep.html.
"""

from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, parse_gender
from beam_jobs.corpora.manifest import (
    BadLineError,
    corpus_path,
    read_candidates,
    read_lines,
    seconds_field,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "kaldi"


def recognises(corpus: Corpus, first_paths: Sequence[str]) -> bool:
    """Returns whether there is a `wav.scp`."""
    del first_paths
    if corpus.manifest:
        return corpus.manifest == "wav.scp"
    return not corpus.pattern and files.exists(files.join(corpus.root, "wav.scp"))


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance, under its own id."""
    speakers = _read_table(corpus, "utt2spk")
    genders = _read_table(corpus, "spk2gender")

    def candidate(
        utterance: str, recording: str, start_s: float = 0.0, stop_s: float | None = None
    ) -> Candidate:
        if utterance not in speakers:
            raise BadLineError(f"utterance {utterance!r} has no speaker in utt2spk")
        if recording.endswith("|"):
            raise BadLineError(
                "a pipe, and commands from data are not run: write what it gives into a file, as"
                " wav-copy does"
            )
        speaker = speakers[utterance]
        path = corpus_path(corpus, recording)
        gender = parse_gender(genders.get(speaker, ""))
        return Candidate(path, utterance, speaker, gender, start_s=start_s, stop_s=stop_s)

    def parse_recording(line: str) -> Iterator[Candidate]:
        utterance, recording = _fields(line, 2)
        yield candidate(utterance, recording)

    recordings = _read_table(corpus, "wav.scp")

    def parse_segment(line: str) -> Iterator[Candidate]:
        utterance, recording, start, stop = _fields(line, 4)
        if recording not in recordings:
            raise BadLineError(f"recording {recording!r} is not in wav.scp")
        times = {"start": start, "end": stop}
        # Kaldi's extract-segments takes -1 for the end of the recording.
        stop_s = None if stop == "-1" else seconds_field(times, "end")
        yield candidate(utterance, recordings[recording], seconds_field(times, "start"), stop_s)

    segments_path = files.join(corpus.root, "segments")
    if files.exists(segments_path):
        return read_candidates(segments_path, parse_segment)
    return read_candidates(files.join(corpus.root, "wav.scp"), parse_recording)


def _read_table(corpus: Corpus, name: str) -> dict[str, str]:
    """Reads the rest of each line by its first word; nothing if there is no such file."""
    path = files.join(corpus.root, name)
    pairs = (line.split(maxsplit=1) for line in read_lines(path)) if files.exists(path) else ()
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _fields(line: str, count: int) -> list[str]:
    fields = line.split(maxsplit=count - 1)
    if len(fields) < count:
        raise BadLineError(f"{len(fields)} fields where {count} belong")
    return [field.strip() for field in fields]

"""VCTK: `wav48_silence_trimmed/SPEAKER/SPEAKER_NUMBER_mic1.flac`, or without the microphone.

Source: https://doi.org/10.7488/ds/2645; `speaker-info.txt` has the genders, and
`txt/SPEAKER/SPEAKER_NUMBER.txt`, beside the folder with the audio, what is said.
"""

import functools
import os
import re
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import (
    Candidate,
    Corpus,
    audio_paths,
    find_beside,
    most_match,
    parse_gender,
)
from beam_jobs.corpora.manifest import read_lines
from beam_jobs.corpora.transcripts import Transcripts, read_by_folder, read_files
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "vctk"
# From release 0.91 on, and before.
LICENSES = ("CC-BY-4.0", "ODC-By-1.0")

_PATH = re.compile(
    r"(?:^|/)(?P<speaker>[ps]\d+)/(?P<utterance>(?P=speaker)_\d+)(?:_(?P<microphone>mic\d))?\.\w+$"
)


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns whether most paths look like VCTK's."""
    del corpus
    return most_match(_PATH, sampled_paths)


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance once, under its own id.

    Two microphones recorded each utterance. The first is used: the corpus reports faults of the
    second.
    """
    genders = _read_genders(corpus)
    read = functools.partial(_read_transcripts, corpus)
    for paths, transcripts in read_by_folder(audio_paths(corpus), read):
        yield from transcripts.rejected
        for path in paths:
            match = _PATH.search(path)
            if not match:
                yield Rejected(files.join(corpus.root, path), "not SPEAKER/SPEAKER_NUMBER[_mic1]")
            elif match["microphone"] in (None, "mic1"):
                utterance, speaker = match["utterance"], match["speaker"]
                gender, spoken = genders.get(speaker, ""), transcripts.texts.get(utterance)
                yield Candidate(path, utterance, speaker, gender, text=spoken)


def _read_transcripts(corpus: Corpus, paths: Sequence[str]) -> Transcripts:
    """Reads the transcripts of the utterances in the folder of a speaker."""
    transcripts = {}
    for path in paths:
        if match := _PATH.search(path):
            audio_folder = files.join(corpus.root, path[: match.start("speaker")]).rstrip("/")
            transcripts[match["utterance"]] = files.join(
                os.path.dirname(audio_folder), "txt", match["speaker"], f"{match['utterance']}.txt"
            )
    return read_files(transcripts)


def _read_genders(corpus: Corpus) -> dict[str, str]:
    path = find_beside(corpus, "speaker-info.txt")
    genders = {}
    for line in read_lines(path) if path else ():
        # Before version 0.92 the file has speakers without their letter.
        if match := re.match(r"([ps]?)(\d+)\s+\d*\s*([FM])\b", line):
            genders[(match[1] or "p") + match[2]] = parse_gender(match[3])
    return genders

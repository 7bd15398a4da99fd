"""LibriSpeech and LibriTTS: `[SUBSET/]SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`.

Source: https://www.openslr.org/12, README.TXT; `SPEAKERS.TXT` beside the subsets has the genders.
LibriTTS calls it `SPEAKERS.txt` (https://www.openslr.org/60), and LibriTTS-R has `speakers.tsv`
(https://www.openslr.org/141).
"""

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
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "librispeech"
LICENSES = ("CC-BY-4.0",)

_PATH = re.compile(
    r"(?:(?P<subset>(?:train|dev|test)-[^/]+)/)?(?P<speaker>\d+)/(?P<chapter>\d+)/"
    r"(?P<utterance>(?P=speaker)[-_](?P=chapter)[-_][^/]*)\.[^./]+$"
)
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns whether most paths look like LibriSpeech's."""
    del corpus
    return most_match(_PATH, sampled_paths)


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance, under LibriSpeech's own ids."""
    genders = read_genders(corpus)
    for path in audio_paths(corpus):
        # The corpus may be a single subset, so that the paths lack its name.
        match = _PATH.search(f"{corpus.name}/{path}")
        if not match:
            yield Rejected(
                files.join(corpus.root, path), "not SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER"
            )
            continue
        speaker = match["speaker"]
        split = _SPLITS[match["subset"].split("-")[0]] if match["subset"] else ""
        yield Candidate(path, match["utterance"], speaker, genders.get(speaker, ""), split)


def corpus_split(path: str) -> str:
    """Returns the split of a path such as `dev-clean/84/...`; empty if its subset is unknown."""
    return _SPLITS.get(path.partition("-")[0], "")


def read_genders(corpus: Corpus) -> dict[str, str]:
    """Reads the gender of each speaker, `f` or `m`, from a file beside the subsets.

    Without a file that has the speakers, no gender is known.
    """
    path = find_beside(corpus, "SPEAKERS.TXT", "speakers.tsv")
    genders = {}
    for line in read_lines(path) if path else ():
        fields = [field.strip() for field in re.split(r"[|\t]", line)]
        if fields[0].isdecimal() and len(fields) > 1:
            genders[fields[0]] = parse_gender(fields[1])
    return genders

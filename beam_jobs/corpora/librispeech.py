"""LibriSpeech and LibriTTS: `[SUBSET/]SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`.

Source: https://www.openslr.org/12, README.TXT; `SPEAKERS.TXT` beside the subsets has the genders.
"""

import re
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, audio_paths, find_beside, parse_gender
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "librispeech"

_PATH = re.compile(
    r"(?:(?P<subset>(?:train|dev|test)-[^/]+)/)?(?P<speaker>\d+)/(?P<chapter>\d+)/"
    r"(?P<utterance>(?P=speaker)[-_](?P=chapter)[-_][^/]*)\.[^./]+$"
)
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def recognises(corpus: Corpus, first_paths: Sequence[str]) -> bool:
    """Returns whether all paths look like LibriSpeech's."""
    del corpus
    return bool(first_paths) and all(_PATH.search(path) for path in first_paths)


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
    """Reads the gender of each speaker, `f` or `m`, from `SPEAKERS.TXT`; nothing without it."""
    path = find_beside(corpus, "SPEAKERS.TXT")
    genders = {}
    for line in files.read_text(path).splitlines() if path else ():
        fields = [field.strip() for field in line.split("|")]
        if not line.startswith(";") and len(fields) > 1:
            genders[fields[0]] = parse_gender(fields[1])
    return genders

"""LibriSpeech and LibriTTS: `[SUBSET/]SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`.

Source: https://www.openslr.org/12, README.TXT; `SPEAKERS.TXT` beside the subsets has the genders.
LibriTTS calls it `SPEAKERS.txt` (https://www.openslr.org/60), and LibriTTS-R has `speakers.tsv`
(https://www.openslr.org/141). LibriSpeech has the transcripts of a chapter in
`SPEAKER-CHAPTER.trans.txt`, LibriTTS that of each utterance in `UTTERANCE.normalized.txt`.
"""

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from beam_jobs.corpora.layout import (
    Candidate,
    Corpus,
    audio_paths,
    find_beside,
    most_match,
    parse_gender,
)
from beam_jobs.corpora.manifest import read_lines
from beam_jobs.corpora.transcripts import Transcripts, read_by_folder, read_files, read_list
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
    read = functools.partial(_read_transcripts, corpus)
    for paths, transcripts in read_by_folder(audio_paths(corpus), read):
        yield from transcripts.rejected
        for path in paths:
            match = _match(corpus, path)
            if not match:
                yield Rejected(
                    files.join(corpus.root, path), "not SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER"
                )
                continue
            utterance, speaker = match["utterance"], match["speaker"]
            yield Candidate(
                path,
                utterance,
                speaker,
                genders.get(speaker, ""),
                _SPLITS[match["subset"].split("-")[0]] if match["subset"] else "",
                text=transcripts.texts.get(utterance),
            )


def _match(corpus: Corpus, path: str) -> re.Match[str] | None:
    # The corpus may be a single subset, so that the paths lack its name.
    return _PATH.search(f"{corpus.name}/{path}")


def _read_transcripts(corpus: Corpus, paths: Sequence[str]) -> Transcripts:
    """Reads the transcripts of the utterances of a chapter."""
    matches = {path: match for path in paths if (match := _match(corpus, path))}
    if not matches:
        return Transcripts({}, [])
    path, match = next(iter(matches.items()))
    if match["utterance"].startswith(f"{match['speaker']}-"):
        chapter = f"{match['speaker']}-{match['chapter']}.trans.txt"
        return read_list(files.join(corpus.root, os.path.dirname(path), chapter))
    stems = {match["utterance"]: os.path.splitext(path)[0] for path, match in matches.items()}
    return read_files(
        {
            utterance: files.join(corpus.root, f"{stem}.normalized.txt")
            for utterance, stem in stems.items()
        }
    )


def read_texts(corpus: Corpus, paths: Iterable[str]) -> Mapping[str, str]:
    """Reads what is said in some utterances, by their ids.

    Args:
        corpus: the corpus.
        paths: of the utterances, relative to the corpus. Those of which nothing can be read, and
            those that are not LibriSpeech's, are missing in the result.
    """
    read = functools.partial(_read_transcripts, corpus)
    texts: dict[str, str] = {}
    for _, transcripts in read_by_folder(sorted(paths), read):
        texts |= transcripts.texts
    return texts


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

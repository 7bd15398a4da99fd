"""A folder for each speaker, with the speaker's files anywhere in it: `SPEAKER/.../FILE.wav`."""

import os
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, audio_paths
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "speaker_folders"


def recognises(corpus: Corpus, first_paths: Sequence[str]) -> bool:
    """Returns true for anything but a manifest: this layout is tried last."""
    del first_paths
    return not corpus.manifest


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance; its id is its path without the suffix."""
    for path in audio_paths(corpus):
        speaker, separator, _ = path.partition("/")
        if separator:
            yield Candidate(path, os.path.splitext(path)[0], speaker)
        else:
            yield Rejected(files.join(corpus.root, path), "not in the folder of a speaker")

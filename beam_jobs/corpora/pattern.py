"""Files of a glob pattern or a folder, with a regular expression that finds the speaker."""

import os
import re
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, audio_paths
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files

NAME = "pattern"
LICENSES: tuple[str, ...] = ()


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns whether there is a pattern, or a regular expression for a folder."""
    del sampled_paths
    return bool(corpus.pattern or corpus.speaker_regex)


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance; its id is its path without the suffix."""
    speaker_regex = re.compile(corpus.speaker_regex)
    for path in audio_paths(corpus):
        match = speaker_regex.search(path)
        if match and match[1]:
            yield Candidate(path, os.path.splitext(path)[0], match[1])
        else:
            yield Rejected(
                files.join(corpus.root, path), "--speaker_regex does not find a speaker in the path"
            )

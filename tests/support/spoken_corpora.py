"""Small corpora of generated audio, catalogued as the job does it."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from beam_jobs.corpora import find_candidates
from beam_jobs.corpora.headers import catalogue_utterance
from beam_jobs.corpora.layout import parse_corpora
from beam_jobs.runtime.dead_letters import Rejected
from schemas.recipe import Utterance

RATE = 8000


def speak(path: Path, duration_s: float = 1.0, *, seed: int = 0, channels: int = 1) -> Path:
    """Writes noise, which differs from one seed and one channel to the next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(duration_s * RATE), channels)
    samples = np.random.default_rng(seed).normal(0, 0.1, shape)
    soundfile.write(path, samples.squeeze(1) if channels == 1 else samples, RATE)
    return path


def catalogue(corpus: Path | str, **options: str) -> tuple[dict[str, Utterance], list[Rejected]]:
    """Returns the utterances of a corpus by their ids, and everything that was rejected."""
    utterances, rejected = {}, []
    for parsed in parse_corpora([str(corpus)], **options):
        for candidate in find_candidates(parsed):
            found = candidate
            if not isinstance(candidate, Rejected):
                found = catalogue_utterance(parsed, candidate, prefix_names=False)
            if isinstance(found, Rejected):
                # As the job writes them down.
                found.to_json().encode()
                rejected.append(found)
            else:
                utterances[found.id] = found
    return utterances, rejected


def write_lines(path: Path, rows: Sequence[str | Mapping[str, object]]) -> Path:
    """Writes rows as text or as JSON, gzipped if the path says so."""
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    data = gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path

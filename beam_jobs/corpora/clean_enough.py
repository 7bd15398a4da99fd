"""Measures how clean utterances are, and says which ones are not clean enough for a recipe."""

from collections.abc import Iterator, Mapping

import numpy as np

from beam_jobs.audio.cleanness import Cleanness, measure_cleanness
from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.recipe import Channels, Utterance
from schemas.recipe_config import CleanEnough

# Longer recordings tell no more of themselves, and would take much memory.
_MAX_MEASURED_S = 600

# What is wrong with an utterance beyond a limit, and how its measure is written.
_COMPLAINTS: Mapping[str, tuple[str, str]] = {
    "min_bandwidth_hz": ("too little bandwidth", "{:.0f} Hz"),
    "min_snr_db": ("too noisy", "an SNR of {:.1f} dB"),
    "max_clipped_share": ("clipped", "{:.2g} of its samples"),
    "min_speech_share": ("too little speech", "{:.2g} of its time"),
}


def measure_utterance(utterance: Utterance, root: str) -> Cleanness | Rejected:
    """Decodes an utterance, or the first ten minutes of it, and measures it.

    Args:
        utterance: whose header has been read.
        root: the folder of its corpus.

    Returns:
        Its measures, or why it can't be decoded.
    """
    path = files.join(root, utterance.path)
    stop = min(utterance.stop, utterance.start + _MAX_MEASURED_S * utterance.sample_rate)
    channels: Channels = "average" if utterance.channel is None else utterance.channel
    try:
        samples = read_segment(path, utterance.start, stop, channels)
    except UnusableAudioError as error:
        return Rejected(path, str(error))
    except OSError as error:
        # A retry may mend what goes wrong far away; here it is the file's own fault.
        if files.is_remote(path):
            raise
        return Rejected.from_error(path, error)
    return measure_cleanness(samples, utterance.sample_rate)


def find_unclean(
    catalogue: Catalogue, clean_enough: CleanEnough, corpus_roots: Mapping[str, str]
) -> Iterator[Rejected]:
    """Yields each utterance that is beyond a limit, with its measure, the limit and the remedy.

    Args:
        catalogue: with the measures of its utterances.
        clean_enough: the limits.
        corpus_roots: the folder of each corpus, by its name.
    """
    complaints: dict[int, list[str]] = {}
    for name, limit in clean_enough.limits.items():
        kind, words = _COMPLAINTS[name]
        measures = catalogue.measures(name.partition("_")[2])
        for entry in np.flatnonzero(catalogue.is_beyond(name, limit)).tolist():
            measured = words.format(measures[entry])
            complaints.setdefault(entry, []).append(
                f"{kind}: {measured} where the recipe has {name} {limit:g}"
            )
    utterances = catalogue.utterances(np.array(list(complaints), np.int32))
    for utterance, own in zip(utterances, complaints.values(), strict=True):
        path = files.join(corpus_roots[utterance.corpus], utterance.path)
        remedy = f"leave {utterance.id} out, or change clean_enough"
        yield Rejected(path, f"{'; '.join(own)}; {remedy}")

"""The one loop that scores separated mixtures: each model between two bounds on the same audio.

The lower bound is the unprocessed mixture in place of every source, the upper one the ideal ratio
mask.
"""

import dataclasses
import io
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import soundfile

from schemas.pcm import Samples
from scoring.metrics import Block, Blocks, ideal_ratio_mask, measure
from scoring.results import Result

UNPROCESSED = "unprocessed mixture"
IDEAL_RATIO_MASK = "ideal ratio mask"

NUM_PLAYERS = 12
"""A report has players for this many mixtures: the first ones."""


@dataclasses.dataclass(frozen=True, slots=True)
class Players:
    """The audio files of one mixture, for the players of a report.

    Attributes:
        prefix: begins the name of each file; different for each mixture.
        write: writes a file by its name, from its content, which is FLAC.
    """

    prefix: str
    write: Callable[[str, bytes], object]


def score_with_bounds(
    mixture: str,
    separated: Mapping[str, Blocks],
    sample_rate: int,
    *,
    groups: Mapping[str, str],
    players: Players | None = None,
) -> list[Result]:
    """Measures what models made of one mixture, and what the two bounds make of it.

    Args:
        mixture: its name.
        separated: for each model by name, the blocks of the mixture with the model's estimates.
        sample_rate: in Hz.
        groups: that the mixture belongs to, as `Result` has them.
        players: where to write the first block of everything, to listen to, if anywhere.

    Returns:
        The results of the unprocessed mixture, of each model, and of the ideal ratio mask.
    """
    reference = next(iter(separated.values()))
    compared = {
        UNPROCESSED: _replace_estimates(reference, _repeat_mixture),
        **separated,
        IDEAL_RATIO_MASK: _replace_estimates(
            reference, lambda block: ideal_ratio_mask(block.sources, block.mixture, sample_rate)
        ),
    }
    results = []
    for model, blocks in compared.items():
        measures, order = measure(blocks, sample_rate)
        audio: tuple[str, ...] = ()
        if players is not None:
            audio = _name_audio(players.prefix, model, len(order))
            first = next(iter(blocks()))
            signals = [first.mixture, *first.estimates[list(order)]]
            for name, samples in zip(audio, signals, strict=True):
                players.write(name, _encode_flac(samples, sample_rate))
        results.append(Result(model, mixture, dict(groups), measures, audio))
    return results


def _name_audio(prefix: str, model: str, num_sources: int) -> tuple[str, ...]:
    """Returns the names of the files of a mixture and of each source that a model made of it."""
    model = re.sub(r"[^A-Za-z0-9._]+", "_", model)
    outputs = (f"{prefix}-{model}-{slot}.flac" for slot in range(1, num_sources + 1))
    return (f"{prefix}-mixture.flac", *outputs)


def _replace_estimates(blocks: Blocks, estimate: Callable[[Block], Samples]) -> Blocks:
    def replaced() -> Iterator[Block]:
        for block in blocks():
            yield dataclasses.replace(block, estimates=estimate(block))

    return replaced


def _repeat_mixture(block: Block) -> Samples:
    return np.tile(block.mixture, (len(block.sources), 1))


def _encode_flac(samples: Samples, sample_rate: int) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.clip(samples, -1, 1), sample_rate, format="FLAC")
    return content.getvalue()

"""The one loop that scores separated mixtures: each model between two bounds on the same audio.

The lower bound is the unprocessed mixture in place of every source, the upper one the ideal ratio
mask.
"""

import dataclasses
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import soundfile

from pages.listening import SOURCE_COLOURS
from pages.spectrogram import draw_spectrograms
from schemas.pcm import Samples, to_pcm
from scoring.metrics import Block, Blocks, ideal_ratio_mask, measure
from scoring.results import Excerpt, Result

UNPROCESSED = "unprocessed mixture"
IDEAL_RATIO_MASK = "ideal ratio mask"

NUM_PLAYERS = 12
"""A report has players for this many mixtures: the first ones."""


@dataclasses.dataclass(frozen=True, slots=True)
class Players:
    """The files of one mixture that a report shows and plays.

    Attributes:
        prefix: begins the name of each file; different for each mixture.
        write: writes a file by its name, from its content, which is FLAC or PNG.
    """

    prefix: str
    write: Callable[[str, bytes], object]

    def show(self, model: str, mixture: Samples, sources: Samples, sample_rate: int) -> Excerpt:
        """Writes what a model made of a mixture.

        Args:
            model: its name.
            mixture: float32 [samples].
            sources: as the model has them, float32 [sources, samples].
            sample_rate: in Hz.
        """
        own = f"{self.prefix}-{re.sub(r'[^A-Za-z0-9._]+', '_', model)}"
        excerpt = Excerpt(
            duration_s=len(mixture) / sample_rate,
            sample_rate=sample_rate,
            picture=f"{own}.png",
            mixture=f"{self.prefix}-mixture.flac",
            sources=tuple(f"{own}-{number}.flac" for number in range(1, len(sources) + 1)),
        )
        parts = [
            (to_pcm(source)[:, np.newaxis], colour)
            for source, colour in zip(sources, itertools.cycle(SOURCE_COLOURS))
        ]
        (picture,) = draw_spectrograms([(to_pcm(mixture)[:, np.newaxis], parts)], sample_rate)
        self.write(excerpt.picture, picture)
        for name, samples in zip(
            (excerpt.mixture, *excerpt.sources), (mixture, *sources), strict=True
        ):
            self.write(name, _encode_flac(samples, sample_rate))
        return excerpt


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
        players: where to write the first block of everything, to see and to hear, if anywhere.

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
        excerpt = None
        if players is not None:
            first = next(iter(blocks()))
            if model == UNPROCESSED:
                excerpt = players.show("true speakers", first.mixture, first.sources, sample_rate)
            else:
                outputs = first.estimates[list(order)]
                excerpt = players.show(model, first.mixture, outputs, sample_rate)
        results.append(Result(model, mixture, dict(groups), measures, excerpt))
    return results


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

"""The mixtures of a dataset, as they are evaluated: in one channel."""

import dataclasses
from typing import Any

import numpy as np

from schemas.pcm import FULL_SCALE, Samples
from schemas.recipe import Recipe, parse_recipe
from schemas.tfrecord import decode_example


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class EvaluatedMixture:
    """A mixture of a dataset.

    Attributes:
        recipe: how it was made.
        mixture: [samples].
        sources: [sources, samples].
    """

    recipe: Recipe
    mixture: Samples
    sources: Samples


def decode_mixture(example: bytes, origin: str) -> EvaluatedMixture:
    """Reads a `tf.train.Example` of a dataset, and mixes it down to one channel.

    Args:
        example: serialised.
        origin: the name of the file, for the error message.

    Raises:
        CorruptRecordError: not an Example.
        InvalidDocumentError: its recipe is none.
    """
    features: dict[str, Any] = decode_example(example)
    recipe = parse_recipe(features["recipe"][0], origin)

    def mono(samples: bytes) -> Samples:
        pcm = np.frombuffer(samples, np.int16).reshape(-1, recipe.num_samples, num_channels)
        audio: Samples = pcm.mean(axis=2, dtype=np.float32) / np.float32(FULL_SCALE)
        return audio

    num_channels = len(features["mixture"][0]) // 2 // recipe.num_samples
    (mixture,) = mono(features["mixture"][0])
    return EvaluatedMixture(recipe, mixture, mono(features["sources"][0]))

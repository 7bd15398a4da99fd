"""Records of a dataset: each a mixture, its sources and its recipe."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from schemas.pcm import FULL_SCALE, Pcm, Samples
from schemas.recipe import Recipe, parse_recipe
from schemas.tfrecord import decode_example


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StoredMixture:
    """A mixture as a shard contains it.

    Attributes:
        recipe: its complete description.
        mixture: int16 [samples, channels].
        sources: int16 [sources, samples, channels], as they sound in the mixture. Where the dataset
            has mixtures of more sources, the rows after those of the recipe are silent.
        noise: int16 [samples, channels], or None.
        gains_db: the gain from the samples of each source's file to those in the mixture; 0 for a
            silent row.
        degraded: int16 [samples, channels], the mixture after its transmission, or None.
        enrolments: int16 [sources, samples, channels], another utterance of each speaker, or None;
            with the same silent rows as the sources.
    """

    recipe: Recipe
    mixture: Pcm
    sources: Pcm
    noise: Pcm | None
    gains_db: tuple[float, ...]
    degraded: Pcm | None = None
    enrolments: Pcm | None = None

    @property
    def own_sources(self) -> Pcm:
        """The sources without silent rows, int16 [rows of the recipe, samples, channels]."""
        return self.sources[: len(self.recipe.rows)]

    @property
    def own_gains_db(self) -> tuple[float, ...]:
        """The gains without those of silent rows, one for each row of the recipe."""
        return self.gains_db[: len(self.recipe.rows)]


def decode_mixture(record: bytes, origin: str) -> StoredMixture:
    """Decodes a record of a shard.

    Args:
        record: a serialised `tf.train.Example`.
        origin: the name of the file, for the error message.

    Raises:
        CorruptRecordError: the record is not an Example.
        InvalidDocumentError: its recipe does not follow the schema.
        LookupError: it lacks a feature.
    """
    features = cast(Mapping[str, Any], decode_example(record))
    recipe = parse_recipe(features["recipe"][0], origin)
    shape = (-1, recipe.num_channels)

    def audio(name: str) -> Pcm:
        return np.frombuffer(features[name][0], np.int16)

    mixture = audio("mixture").reshape(shape)
    return StoredMixture(
        recipe=recipe,
        mixture=mixture,
        sources=audio("sources").reshape(-1, *mixture.shape),
        noise=audio("noise").reshape(shape) if recipe.has_noise else None,
        gains_db=tuple(features["gains_db"]),
        degraded=None if recipe.transmission is None else audio("degraded").reshape(shape),
        enrolments=(
            None
            if recipe.enrolments is None
            else audio("enrolments").reshape(-1, recipe.enrolments_shape[1], *shape[1:])
        ),
    )


def mix_down(pcm: Pcm) -> Samples:
    """Averages the channels of int16 [..., samples, channels] to float32 [..., samples]."""
    samples: Samples = pcm.mean(axis=-1, dtype=np.float32) / np.float32(FULL_SCALE)
    return samples

"""The mixtures of a finished dataset, as its shards hold them."""

import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from beam_jobs import files
from schemas import dataset
from schemas.dataset import Dataset, ShardInfo, parse_dataset
from schemas.recipe import Recipe, parse_recipe
from schemas.tfrecord import decode_example, read_records

Pcm = npt.NDArray[np.int16]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StoredMixture:
    """One record of a shard.

    Attributes:
        recipe: how it was made.
        mixture: int16 [samples, channels].
        sources: int16 [sources, samples, channels].
        noise: int16 [samples, channels], or None.
        gains_db: what each source was scaled by.
    """

    recipe: Recipe
    mixture: Pcm
    sources: Pcm
    noise: Pcm | None
    gains_db: tuple[float, ...]


def open_dataset(folder: str) -> Dataset:
    """Reads `dataset.json` of a finished dataset.

    Raises:
        ValueError: there is none, or it is not finished.
    """
    if not files.exists(files.join(folder, dataset.COMPLETED)):
        raise ValueError(
            f"{folder}: no {dataset.COMPLETED}: not a dataset, or one whose job has not finished:"
            " start that job again"
        )
    path = files.join(folder, dataset.DATASET)
    if not files.exists(path):
        raise ValueError(f"{path}: missing")
    return parse_dataset(files.read_bytes(path), path)


def has_noise(folder: str) -> bool:
    """Whether there is noise in the mixtures of a dataset."""
    features = json.loads(files.read_text(files.join(folder, dataset.FEATURES)))
    return "noise" in features["featuresDict"]["features"]


def read_mixtures(folder: str, described: Dataset, info: ShardInfo) -> Iterator[StoredMixture]:
    """Yields the mixtures of a shard, in order.

    Args:
        folder: the dataset's.
        described: what `dataset.json` says.
        info: what it says of the shard.

    Raises:
        ValueError: a record is damaged; the message names the file.
        OSError: the file can't be read; BeamIOError is one.
    """
    path = files.join(folder, info.shard.tfrecord(described.name))
    try:
        with files.open_file(path, compressed=bool(described.compression)) as file:
            for record in read_records(file):
                yield _decode(record)
    except (ValueError, LookupError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: {error}") from None


def _decode(record: bytes) -> StoredMixture:
    features = cast(Mapping[str, Any], decode_example(record))
    recipe = parse_recipe(features["recipe"][0], "recipe")
    shape = (-1, recipe.num_channels)

    def audio(name: str) -> Pcm:
        return np.frombuffer(features[name][0], np.int16)

    return StoredMixture(
        recipe=recipe,
        mixture=audio("mixture").reshape(shape),
        sources=audio("sources").reshape(len(recipe.rows), *shape),
        noise=None if recipe.noise is None else audio("noise").reshape(shape),
        gains_db=tuple(features["gains_db"]),
    )

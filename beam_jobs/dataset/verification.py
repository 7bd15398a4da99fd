"""Checking every checksum, sum and count of a dataset."""

import dataclasses
import itertools
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from beam_jobs.storage import files
from schemas import dataset
from schemas.dataset import Dataset, ShardInfo
from schemas.recipe import parse_recipe
from schemas.tfrecord import decode_example, read_records


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Damage:
    """A file of a dataset that is damaged: one line of `damage.jsonl`.

    Attributes:
        path: of the file, relative to the dataset.
        reason: the kind of damage.
    """

    path: str
    reason: str


def verify_files(folder: str, described: Dataset) -> Iterator[Damage]:
    """Yields the damage to the files that are not shards.

    Args:
        folder: of the dataset.
        described: the content of `dataset.json`.
    """
    if files.read_bytes(files.join(folder, dataset.DATASET)) != described.to_json().encode():
        yield Damage(dataset.DATASET, "not as it was written")
    if files.read_bytes(files.join(folder, dataset.COMPLETED)) != described.completed.encode():
        yield Damage(dataset.COMPLETED, f"does not belong to {dataset.DATASET}: one was changed")
    for name, expected in described.files.items():
        path = files.join(folder, name)
        if not files.exists(path):
            yield Damage(name, "missing")
        elif files.checksum(path)[1] != expected:
            yield Damage(name, f"its checksum is not the one in {dataset.DATASET}")


def verify_shard(
    folder: str,
    described: Dataset,
    info: ShardInfo,
    count_mixture: Callable[[float], None] = lambda _: None,
) -> Iterator[Damage]:
    """Yields the damage to a shard and to the file of its recipes.

    Args:
        folder: of the dataset.
        described: the content of `dataset.json`.
        info: the shard, as `described` lists it.
        count_mixture: is given the length of each mixture that is verified, in seconds.
    """
    name = info.shard.tfrecord(described.name)
    path = files.join(folder, name)
    if not files.exists(path):
        yield Damage(name, "missing")
        return
    num_bytes, crc32c = files.checksum(path)
    if num_bytes != info.num_bytes:
        yield Damage(name, f"{num_bytes} bytes where {dataset.DATASET} has {info.num_bytes}")
    elif crc32c != info.crc32c:
        yield Damage(name, f"its checksum is not the one in {dataset.DATASET}")
    recipes = []
    try:
        with files.open_file(path, compressed=bool(described.compression)) as file:
            for number, record in enumerate(read_records(file)):
                features = cast(Mapping[str, Any], decode_example(record))
                num_values = len(features["mixture"][0]) // 2
                for reason in check_record(features, described):
                    yield Damage(name, f"record {number}: {reason}")
                recipes.append(features["recipe"][0])
                count_mixture(num_values / described.num_channels / described.sample_rate)
    except (ValueError, LookupError, EOFError, OSError, zlib.error) as error:
        yield Damage(name, f"after {len(recipes)} records: {error}")
        return
    if len(recipes) != info.num_mixtures:
        yield Damage(name, f"{len(recipes)} records where there were {info.num_mixtures}")
    yield from _verify_recipes(folder, info.shard.recipes, recipes)


def check_record(features: Mapping[str, Any], described: Dataset) -> Iterator[str]:
    """Yields each contradiction in a record whose checksums are right.

    Args:
        features: the decoded record.
        described: the content of `dataset.json`.

    Raises:
        ValueError: its recipe does not follow the schema, or its audio is not 16-bit.
        LookupError: it lacks a feature.
    """
    recipe = parse_recipe(features["recipe"][0], "recipe")
    mixture = np.frombuffer(features["mixture"][0], np.int16)
    parts = np.frombuffer(features["sources"][0], np.int16)
    num_sources, num_parts = len(recipe.rows), described.num_sources
    if recipe.has_noise:
        parts = np.concatenate([parts, np.frombuffer(features["noise"][0], np.int16)])
        num_parts += 1
    if features["id"][0].decode() != recipe.id:
        yield "its id is not that of its recipe"
    if {features["sample_rate"][0], recipe.sample_rate} != {described.sample_rate}:
        yield f"its sample rate is not the one in {dataset.DATASET}"
    if num_sources > described.num_sources or (
        num_sources < described.num_sources and not described.silent_rows
    ):
        yield f"{num_sources} sources where {dataset.DATASET} has {described.num_sources}"
    if recipe.num_channels != described.num_channels:
        yield f"{recipe.num_channels} channels where {dataset.DATASET} has {described.num_channels}"
    if (recipe.mixture is not None) != described.mixture_given:
        yield f"its mixture is given where {dataset.DATASET} says a sum, or the other way round"
    num_values = recipe.num_samples * recipe.num_channels
    if len(mixture) != num_values or len(parts) != num_parts * len(mixture):
        yield "its audio is not as long as its recipe says"
    elif parts.reshape(num_parts, -1)[num_sources : described.num_sources].any():
        yield "sound in a row for which its recipe has no source"
    elif recipe.has_rooms and len(features["dry_sources"][0]) != len(features["sources"][0]):
        yield "its dry sources are not as long as its sources"
    elif recipe.transmission is not None and len(features["degraded"][0]) != mixture.nbytes:
        yield "its degraded mixture is not as long as the mixture"
    elif recipe.enrolments is not None and len(features["enrolments"][0]) != 2 * math.prod(
        (described.num_sources, *recipe.enrolments_shape[1:])
    ):
        yield "its enrolments are not as long as its recipe says"
    elif recipe.mixture is None and (parts.reshape(num_parts, -1).sum(axis=0) != mixture).any():
        yield "its mixture is not the sum of its parts"


def write_damage(path: str, damage: Iterable[Damage]) -> None:
    """Writes `damage.jsonl`, sorted; without any damage, an empty file."""
    lines = [json.dumps(dataclasses.asdict(one)) + "\n" for one in sorted(damage)]
    files.write_text(path, "".join(lines))


def read_damage(path: str) -> list[Damage]:
    """Reads what `write_damage` writes."""
    return [Damage(**json.loads(line)) for line in files.read_text(path).splitlines()]


def _verify_recipes(folder: str, name: str, recipes: Sequence[bytes]) -> Iterator[Damage]:
    path = files.join(folder, name)
    if not files.exists(path):
        yield Damage(name, "missing")
        return
    with files.open_file(path) as file:
        lines = file.read().split(b"\n")
    for number, (line, recipe) in enumerate(itertools.zip_longest(lines, [*recipes, b""]), 1):
        if line != recipe:
            yield Damage(name, f"line {number} is not the recipe in the shard")
            return

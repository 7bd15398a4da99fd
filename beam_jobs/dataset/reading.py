"""Reading a finished dataset: its description, its quality, and the mixtures of its shards."""

import zlib
from collections.abc import Iterator
from typing import Any

from beam_jobs.storage import files
from schemas import dataset
from schemas.dataset import Dataset, ShardInfo
from schemas.errors import UserError
from schemas.mixture import StoredMixture, decode_mixture
from schemas.quality import Quality, parse_quality
from schemas.tfrecord import read_records


def open_dataset(folder: str) -> Dataset:
    """Reads the description of a finished dataset.

    Raises:
        UnfinishedDatasetError: the folder holds no dataset, or an unfinished one.
        InvalidDocumentError: the description does not follow its schema.
    """
    return dataset.open_dataset(folder, exists=files.exists, read=files.read_bytes)


def has_feature(folder: str, name: str) -> bool:
    """Returns whether the records of a dataset have a feature, such as `noise`."""
    return name in _features(folder)


def enrolment_samples(folder: str) -> int:
    """Returns the length of the enrolment of each speaker in a dataset; 0 without any."""
    enrolments = _features(folder).get("enrolments")
    return int(enrolments["tensor"]["shape"]["dimensions"][1]) if enrolments else 0


def _features(folder: str) -> dict[str, Any]:
    return dataset.read_features(folder, exists=files.exists, read=files.read_bytes)


def read_quality(folder: str) -> Quality:
    """Reads the quality of a finished dataset.

    Raises:
        InvalidDocumentError: `quality.json` does not follow its schema.
    """
    path = files.join(folder, dataset.QUALITY)
    return parse_quality(files.read_text(path), path)


def read_mixtures(folder: str, described: Dataset, info: ShardInfo) -> Iterator[StoredMixture]:
    """Yields the mixtures of a shard, in order.

    Args:
        folder: of the dataset.
        described: the content of `dataset.json`.
        info: the shard, as `described` lists it.

    Raises:
        UserError: a record is damaged; the message names the file.
        OSError: the file can't be read.
    """
    path = files.join(folder, info.shard.tfrecord(described.name))
    try:
        with files.open_file(path, compressed=bool(described.compression)) as file:
            for record in read_records(file):
                yield decode_mixture(record, "recipe")
    except (UserError, LookupError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: {error}") from None

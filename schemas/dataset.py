"""Mixture datasets: folders that TensorFlow Datasets reads, and that say how they were made.

`features.json` and `dataset_info.json` are TensorFlow Datasets' own formats
(https://www.tensorflow.org/datasets/external_tfrecord); `dataset.json` is ours. `COMPLETED` is
written last: a folder without it is not a dataset yet.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import google_crc32c

from schemas.errors import UserError
from schemas.validation import InvalidDocumentError, load_document, parse_json

VERSION = 1

CARD = "README.md"
CATALOGUE = "catalogue.arrow"
COMPLETED = "COMPLETED"
CROISSANT = "croissant.json"
DAMAGE = "damage.jsonl"
DATASET = "dataset.json"
DATASET_INFO = "dataset_info.json"
FEATURES = "features.json"
JOB = "job.json"
QUALITY = "quality.json"
REJECTED = "rejected.jsonl"
REPORT = "report.html"

# The files whose checksums `dataset.json` has, besides the shards. The card is not among them:
# people complete it, and the dataset is as sound as before.
CHECKSUMMED = (CATALOGUE, CROISSANT, DATASET_INFO, FEATURES, JOB, QUALITY, REJECTED, REPORT)

# Of a dataset whose folder says no other.
_FIRST_VERSION = "1.0.0"

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Shard:
    """The name of a shard.

    Attributes:
        split: train, validation or test.
        index: from 0.
        count: the number of shards of the split.
    """

    split: str
    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}"

    def tfrecord(self, dataset_name: str) -> str:
        """Returns the name of the file in the dataset, as TensorFlow Datasets expects it."""
        return f"{dataset_name}-{self.split}.tfrecord-{self.index:05d}-of-{self.count:05d}"

    @property
    def recipes(self) -> str:
        """The name of the file with the shard's recipes, one a line."""
        return f"recipes/{self}.jsonl"


@dataclasses.dataclass(frozen=True, slots=True)
class ShardInfo:
    """The size and the checksum of a finished shard.

    Attributes:
        shard: the name of the shard.
        num_mixtures: records in the file.
        num_bytes: the size of the file.
        crc32c: the checksum of the file, in hexadecimal. Google Cloud Storage keeps the same one,
            and it takes a twentieth of the time of a cryptographic digest.
    """

    shard: Shard
    num_mixtures: int
    num_bytes: int
    crc32c: str


@dataclasses.dataclass(frozen=True, slots=True)
class Dataset:
    """The content of `dataset.json`.

    Attributes:
        name: the beginning of the shards' names.
        sample_rate: of all audio, in Hz.
        num_sources: the number of sources in each mixture, or in those that have most.
        compression: of the TFRecord files, as TensorFlow calls it.
        shards: all shards, by split and index.
        files: the CRC-32C of each other file, by name, except this one and the recipes, which the
            records contain, too.
        num_channels: of all audio.
        instruments: the names of the sources if they are the same in all mixtures.
        mixture_given: whether mixtures are recordings rather than the sums of their parts.
        silent_rows: whether mixtures may have fewer sources than `num_sources`, and silent rows
            after them.
    """

    name: str
    sample_rate: int
    num_sources: int
    compression: Literal["", "GZIP"]
    shards: tuple[ShardInfo, ...]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    num_channels: int = 1
    instruments: tuple[str, ...] = ()
    mixture_given: bool = False
    silent_rows: bool = False

    @property
    def fingerprint(self) -> str:
        """A digest that identifies the dataset, of the checksums of all shards, in hexadecimal."""
        digests = "".join(f"{info.shard} {info.crc32c}\n" for info in self.shards)
        return hashlib.sha256(digests.encode()).hexdigest()

    @property
    def num_mixtures(self) -> int:
        """The number of mixtures in all splits together."""
        return sum(info.num_mixtures for info in self.shards)

    def split_shards(self, split: str) -> tuple[ShardInfo, ...]:
        """Returns the shards of one split, in order."""
        return tuple(info for info in self.shards if info.shard.split == split)

    def to_json(self) -> str:
        """Returns the content of `dataset.json`."""
        document = {"version": VERSION, "fingerprint": self.fingerprint} | dataclasses.asdict(self)
        usual = {
            "num_channels": 1,
            "instruments": (),
            "mixture_given": False,
            "silent_rows": False,
        }
        for name, value in usual.items():
            if document[name] == value:
                del document[name]
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    @property
    def completed(self) -> str:
        """The content of `COMPLETED`: the fingerprint, and the CRC-32C of `dataset.json`."""
        return f"{self.fingerprint}\n{google_crc32c.value(self.to_json().encode()):08x}\n"


def parse_dataset(text: str | bytes, origin: str) -> Dataset:
    """Reads what `Dataset.to_json` writes.

    Raises:
        InvalidDocumentError: not a dataset description, or one of another version.
    """
    document = load_document(text, "dataset", origin)
    del document["version"], document["fingerprint"]
    document["shards"] = tuple(
        ShardInfo(**(info | {"shard": Shard(**info["shard"])})) for info in document["shards"]
    )
    document["instruments"] = tuple(document.get("instruments", ()))
    return Dataset(**document)


class UnfinishedDatasetError(UserError):
    """A folder contains no dataset, or one whose job has not finished."""


def open_dataset(
    folder: str, *, exists: Callable[[str], bool], read: Callable[[str], str | bytes]
) -> Dataset:
    """Reads `dataset.json` of a finished dataset.

    Args:
        folder: of the dataset, on any file system.
        exists: returns whether there is a file at a path.
        read: returns the content of the file at a path.

    Raises:
        UnfinishedDatasetError: the folder contains no dataset, or an unfinished one.
        InvalidDocumentError: the description does not follow its schema.
    """
    folder = folder.rstrip("/")
    if not exists(f"{folder}/{COMPLETED}"):
        if exists(f"{folder}/{_FIRST_VERSION}/{COMPLETED}"):
            raise UnfinishedDatasetError(
                f"{folder}: the dataset is in {folder}/{_FIRST_VERSION}: give that folder"
            )
        raise UnfinishedDatasetError(
            f"{folder}: no {COMPLETED} file: not a dataset, or one whose job has not finished:"
            " start that job again with the same output, and it goes on where it stopped"
        )
    path = f"{folder}/{DATASET}"
    if not exists(path):
        raise UnfinishedDatasetError(f"{path}: missing: copy the dataset again")
    return parse_dataset(read(path), path)


def read_features(
    folder: str, *, exists: Callable[[str], bool], read: Callable[[str], str | bytes]
) -> dict[str, Any]:
    """Reads what TensorFlow Datasets calls the features of a dataset, by their names.

    Args:
        folder: as for `open_dataset`.
        exists: as for `open_dataset`.
        read: as for `open_dataset`.

    Raises:
        InvalidDocumentError: `features.json` is missing or damaged.
    """
    path = f"{folder.rstrip('/')}/{FEATURES}"
    if not exists(path):
        raise InvalidDocumentError(f"{path}: missing: copy the dataset again")
    document = parse_json(read(path), path)
    try:
        return dict(document["featuresDict"]["features"])
    except (KeyError, TypeError, ValueError):
        raise InvalidDocumentError(
            f"{path}: damaged: lists no features: copy the dataset again"
        ) from None


def dataset_name(folder: str) -> tuple[str, str]:
    """Returns the name and the version by which TensorFlow Datasets knows a folder.

    `.../speech_mix/2.0.0` is version 2.0.0 of `speech_mix`. Any other folder is version 1.0.0, and
    its name is made of the lower-case letters and the digits of the folder's name.
    """
    path = PurePosixPath(folder.replace("://", "/"))
    version = _FIRST_VERSION
    if re.fullmatch(r"\d+\.\d+\.\d+", path.name):
        version, path = path.name, path.parent
    name = re.sub(r"[^a-z0-9]+", "_", path.name.lower()).strip("_")
    return (name if name[:1].isalpha() else f"mixtures_{name}".rstrip("_")), version


def features_document(
    num_sources: int,
    num_channels: int = 1,
    *,
    noise: bool = False,
    rooms: bool = False,
    transmission: bool = False,
    enrolment_samples: int = 0,
) -> dict[str, Any]:
    """Returns the content of `features.json`.

    | feature | shape | type |
    | --- | --- | --- |
    | id | | text |
    | mixture | [samples], or [samples, channels] | int16 |
    | sources | [sources, samples], or [sources, samples, channels] | int16 |
    | noise | like mixture; only with noise | int16 |
    | degraded | like mixture, after its transmission; only with transmission | int16 |
    | dry_sources | like sources, their direct sound alone; only with rooms | int16 |
    | enrolments | [sources, enrolment samples], or with channels; only with enrolments | int16 |
    | sample_rate | | int64, Hz |
    | speakers | [sources] | text |
    | offsets_s | [sources] | float32, seconds; of a speaker's first utterance |
    | gains_db | [sources] | float32, dB, from the file's samples to those in the mixture |
    | recipe | | text, JSON |

    Where a mixture has fewer sources than others, silent rows follow its own: zeros in `sources`,
    an empty text in `speakers`, and 0 in `offsets_s` and `gains_db`.
    """
    samples = [-1] if num_channels == 1 else [-1, num_channels]
    features = {
        "id": _text(),
        "mixture": _tensor("int16", samples, "bytes"),
        "sources": _tensor("int16", [num_sources, *samples], "bytes"),
        "sample_rate": {
            "pythonClassName": "tensorflow_datasets.core.features.scalar.Scalar",
            "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
        },
        "speakers": {
            "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
            "sequence": {"feature": _text(), "length": str(num_sources)},
        },
        "offsets_s": _tensor("float32", [num_sources], "none"),
        "gains_db": _tensor("float32", [num_sources], "none"),
        "recipe": _text(),
    }
    if noise:
        features["noise"] = _tensor("int16", samples, "bytes")
    if transmission:
        features["degraded"] = _tensor("int16", samples, "bytes")
    if rooms:
        features["dry_sources"] = _tensor("int16", [num_sources, *samples], "bytes")
    if enrolment_samples:
        shape = [num_sources, enrolment_samples, *samples[1:]]
        features["enrolments"] = _tensor("int16", shape, "bytes")
    return {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }


def dataset_info_document(dataset: Dataset, version: str, description: str) -> dict[str, Any]:
    """Returns the content of `dataset_info.json`."""
    splits = []
    for split in SPLITS:
        if shards := dataset.split_shards(split):
            splits.append(
                {
                    "name": split,
                    "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                    "shardLengths": [str(info.num_mixtures) for info in shards],
                    "numBytes": str(sum(info.num_bytes for info in shards)),
                }
            )
    return {
        "name": dataset.name,
        "version": version,
        "description": description,
        "fileFormat": "tfrecord",
        "splits": splits,
    }


def _text() -> Mapping[str, Any]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.text_feature.Text",
        "text": {},
    }


def _tensor(dtype: str, shape: list[int], encoding: str) -> Mapping[str, Any]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
        "tensor": {
            "shape": {"dimensions": [str(size) for size in shape]},
            "dtype": dtype,
            "encoding": encoding,
        },
    }

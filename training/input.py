"""Batches of waveforms from mixture datasets, for training and validation.

Each batch depends on the seed and the step alone: the order of the shards in an epoch, the order in
the shuffle buffer, where an example is cut, which sources are remixed. After a kill, training
therefore goes on with exactly the batches that it would have seen, and only the step has to be
saved for that.

Examples are cut out of their records as bytes, and stay at 16 bits a sample until they are in a
batch. Records are long and passes over memory are what costs time here, so the unused part of a
record is never decoded.
"""

import dataclasses
import gzip
import zlib
from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

from schemas import dataset as dataset_schema
from schemas.bundle import TrainingData
from schemas.configuration import Configuration
from schemas.dataset import QUALITY, Dataset, ShardInfo
from schemas.errors import UserError
from schemas.pcm import FULL_SCALE
from schemas.quality import parse_quality
from schemas.tfrecord import CorruptRecordError, read_records
from schemas.validation import InvalidDocumentError

Batch = dict[str, Any]
"""`id` text [batch], `mixture` float32 [batch, samples, channels] in -1..1, `sources` float32
[batch, sources, samples, channels]. The channels are the dataset's; a mono dataset can feed a
stereo model."""

Pcm = dict[str, Any]
"""`id` text, `pcm` int16 [1 + sources, samples, channels], the mixture first, and `speakers` text
[sources], of one example; or of a batch, with a batch axis in front."""

_BYTES_PER_SAMPLE = 2
_SHUFFLE_BYTES = 1 << 28
_PARALLEL_SHARDS = 8

_REMIX_GAIN_DB = 2.5
_LEAD_S = 0.5


class UnusableDatasetError(UserError):
    """A dataset can't be used to train or evaluate a model; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class MixtureDataset:
    """A finished dataset.

    Attributes:
        folder: its folder, local or remote.
        info: the content of `dataset.json`.
        num_channels: of all audio.
        has_degraded: whether its mixtures went through channels of transmission.
    """

    folder: str
    info: Dataset
    num_channels: int
    has_degraded: bool

    def path(self, shard: ShardInfo) -> str:
        """Returns the path of a shard."""
        return _join(self.folder, shard.shard.tfrecord(self.info.name))

    def num_mixtures(self, split: str) -> int:
        """Returns the number of mixtures in a split."""
        return sum(shard.num_mixtures for shard in self.info.split_shards(split))


def open_mixtures(folder: str) -> MixtureDataset:
    """Opens a finished dataset, whatever it is for.

    Raises:
        UnfinishedDatasetError: the folder holds no dataset, or an unfinished one.
        InvalidDocumentError: `dataset.json` does not follow its schema, or `features.json` is
            damaged.
    """
    info = dataset_schema.open_dataset(folder, exists=tf.io.gfile.exists, read=_read)
    features = dataset_schema.read_features(folder, exists=tf.io.gfile.exists, read=_read)
    dimensions = features["mixture"]["tensor"]["shape"]["dimensions"]
    num_channels = int(dimensions[1]) if len(dimensions) > 1 else 1
    return MixtureDataset(folder, info, num_channels, has_degraded="degraded" in features)


def open_dataset(
    folder: str, configuration: Configuration, splits: Collection[str]
) -> MixtureDataset:
    """Opens a finished dataset, and checks that it is complete and fits a configuration.

    Args:
        folder: the dataset's folder, local or remote.
        configuration: of the model.
        splits: the splits that will be read.

    Raises:
        UnfinishedDatasetError: the folder holds no dataset, or an unfinished one.
        UnusableDatasetError: a shard is missing or cut off, a split is empty, or the dataset is
            not what the configuration is for.
        InvalidDocumentError: `dataset.json` does not follow its schema.
    """
    dataset = open_mixtures(folder)
    _check_fit(dataset, configuration)
    for split in splits:
        if split == "train" and dataset.info.silent_rows:
            _check_silence_is_learnt(dataset, configuration.loss_type)
        if not dataset.num_mixtures(split):
            raise UnusableDatasetError(f"{folder}: the {split} split is empty")
        for shard in dataset.info.split_shards(split):
            _check_size(dataset.path(shard), shard)
    return dataset


def describe_data(dataset: MixtureDataset) -> TrainingData:
    """Returns what a model's provenance says of a dataset that it was trained on.

    The hours and speakers are those in `quality.json`, if the dataset has a valid one.
    """
    try:
        origin = _join(dataset.folder, QUALITY)
        splits = parse_quality(_read(origin), origin).splits
    except (InvalidDocumentError, tf.errors.NotFoundError):
        # Training does not depend on it.
        return TrainingData(dataset.info.name, "mixtures")
    return TrainingData(
        dataset.info.name,
        "mixtures",
        hours=round(sum(split.mixture_hours for split in splits.values()), 2),
        speakers={name: split.num_speakers for name, split in splits.items()},
    )


def read_examples(dataset: MixtureDataset, split: str) -> Iterator[bytes]:
    """Yields the serialised examples of a split, shard by shard, and verifies their checksums.

    Raises:
        CorruptRecordError: a file is damaged; the message names it.
    """
    for shard in dataset.info.split_shards(split):
        path = dataset.path(shard)
        with tf.io.gfile.GFile(path, "rb") as file:
            stream = gzip.GzipFile(fileobj=file) if dataset.info.compression == "GZIP" else file
            try:
                yield from read_records(stream)
            except (CorruptRecordError, EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise CorruptRecordError(f"{path}: {error}; copy the shard again") from None


def training_batches(
    dataset: MixtureDataset, configuration: Configuration, first_step: int
) -> tf.data.Dataset:
    """Returns the endless sequence of batches from the split `train`, beginning at a given step.

    With `dynamic_remixing`, each batch pairs its sources anew, at new levels.
    """
    num_mixtures = dataset.num_mixtures("train")
    num_consumed = first_step * configuration.batch_size
    shards = dataset.info.split_shards("train")
    mean_bytes = sum(shard.num_bytes for shard in shards) // num_mixtures
    buffer_size = min(num_mixtures, max(_SHUFFLE_BYTES // mean_bytes, configuration.batch_size))
    seed = configuration.random_seed

    def epoch(index: tf.Tensor) -> tf.data.Dataset:
        paths = tf.random.experimental.stateless_shuffle(
            [dataset.path(shard) for shard in shards], seed=tf.stack([seed, index])
        )
        records = _records(paths, dataset.info.compression)
        return records.shuffle(buffer_size, seed=seed + index, reshuffle_each_iteration=False)

    def example(number: tf.Tensor, record: tf.Tensor) -> Pcm:
        position = tf.random.stateless_uniform([], tf.stack([seed, number]))
        return _cut(record, dataset, configuration, position)

    def example_batch(step: tf.Tensor, examples: Pcm) -> Batch:
        batch = _batch(examples, configuration)
        if not configuration.dynamic_remixing:
            return batch
        return remix(batch, examples["speakers"], tf.stack([seed, step]))

    first_epoch, num_skipped = divmod(num_consumed, num_mixtures)
    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    return (
        epochs.flat_map(epoch)
        .skip(num_skipped)
        .enumerate(num_consumed)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(configuration.batch_size, drop_remainder=True)
        .enumerate(first_step)
        .map(example_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def validation_batches(dataset: MixtureDataset, configuration: Configuration) -> tf.data.Dataset:
    """Returns the batches of the split `validation`, each mixture once, cut from its middle."""
    shards = dataset.info.split_shards("validation")

    def example(record: tf.Tensor) -> Pcm:
        return _cut(record, dataset, configuration, position=0.5)

    def example_batch(examples: Pcm) -> Batch:
        return _batch(examples, configuration)

    return (
        _records([dataset.path(shard) for shard in shards], dataset.info.compression)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(configuration.batch_size)
        .map(example_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def remix(batch: Batch, speakers: tf.Tensor, seed: tf.Tensor) -> Batch:
    """Gives each source new partners from the same batch, and a new level.

    If that would pair a speaker with themselves, the mixture keeps its sources. A mixture also
    keeps its silent rows, and its noise, the difference between it and the sum of its sources.

    Args:
        batch: the batch to remix.
        speakers: text [batch, sources]; empty for a silent row.
        seed: int64 [2].
    """
    sources = batch["sources"]
    noise = batch["mixture"] - tf.reduce_sum(sources, axis=1)
    batch_size, num_sources = sources.shape[0], sources.shape[1]
    is_heard = speakers != ""
    seeds = tf.random.split(seed, 2)
    shift = tf.random.stateless_uniform([], seeds[0], 0, batch_size, tf.int32)
    chosen = _rotate(is_heard, shift)
    partners = tf.gather_nd(speakers, chosen)
    same = (partners[:, :, tf.newaxis] == partners[:, tf.newaxis, :]) & is_heard[:, tf.newaxis]
    num_heard = tf.math.count_nonzero(is_heard, axis=1)
    distinct = tf.math.count_nonzero(same, axis=[1, 2]) == num_heard
    sources = tf.where(
        distinct[:, tf.newaxis, tf.newaxis, tf.newaxis], tf.gather_nd(sources, chosen), sources
    )
    gains_db = tf.random.stateless_uniform(
        [batch_size, num_sources, 1, 1], seeds[1], -_REMIX_GAIN_DB, _REMIX_GAIN_DB
    )
    sources *= 10.0 ** (gains_db / 20)
    return batch | {"mixture": tf.reduce_sum(sources, axis=1) + noise, "sources": sources}


def _rotate(is_heard: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Returns the source that each slot of each example gets.

    The examples in which a slot is heard are a circle, around which the sources of the slot move by
    as many steps as its number says, times `shift`.

    Args:
        is_heard: bool [batch, sources], false for a silent row, which stays where it is.
        shift: int32.

    Returns:
        int32 [batch, sources, 2]: the example and the slot of each source.
    """
    slots = tf.broadcast_to(tf.range(is_heard.shape[1]), is_heard.shape)
    # The examples in which a slot is heard, and behind them the others.
    circles = tf.argsort(tf.cast(~is_heard, tf.int32), axis=0, stable=True)
    places = tf.cumsum(tf.cast(is_heard, tf.int32), axis=0, exclusive=True)
    sizes = tf.math.count_nonzero(is_heard, axis=0, dtype=tf.int32)
    moved = (places + slots * shift) % tf.maximum(sizes, 1)
    own = tf.broadcast_to(tf.range(is_heard.shape[0])[:, tf.newaxis], is_heard.shape)
    chosen = tf.where(is_heard, tf.gather_nd(circles, tf.stack([moved, slots], axis=-1)), own)
    return tf.stack([chosen, slots], axis=-1)


def _records(paths: Any, compression: str) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(paths).interleave(
        lambda path: tf.data.TFRecordDataset(path, compression, buffer_size=1 << 20),
        cycle_length=_PARALLEL_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _cut(
    record: tf.Tensor,
    dataset: MixtureDataset,
    configuration: Configuration,
    position: tf.Tensor | float,
) -> Pcm:
    """Cuts an example from a record, at a position between 0, the earliest, and 1, the latest."""
    num_sources, num_channels = dataset.info.num_sources, dataset.num_channels
    heard = "degraded" if configuration.mixture == "degraded" else "mixture"
    features = tf.io.parse_single_example(
        record,
        {
            "id": tf.io.FixedLenFeature([], tf.string),
            heard: tf.io.FixedLenFeature([], tf.string),
            "sources": tf.io.FixedLenFeature([], tf.string),
            "speakers": tf.io.FixedLenFeature([num_sources], tf.string),
            "offsets_s": tf.io.FixedLenFeature([num_sources], tf.float32),
        },
    )
    sample_bytes = _BYTES_PER_SAMPLE * num_channels
    total = tf.strings.length(features[heard]) // sample_bytes
    latest = tf.maximum(total - configuration.num_samples, 0)
    slots = tf.range(num_sources)
    if configuration.in_onset_order:
        # A silent row comes last: it starts when the mixture ends.
        end_s = tf.cast(total, tf.float32) / configuration.sample_rate
        offsets_s = tf.where(features["speakers"] == "", end_s, features["offsets_s"])
        slots = tf.argsort(offsets_s, stable=True)
        # Begin before the second speaker starts, or nothing would tell who started first.
        if num_sources > 1:
            second_s = tf.sort(offsets_s)[1] - _LEAD_S
            before = tf.cast(second_s * configuration.sample_rate, tf.int32)
            latest = tf.clip_by_value(before, 0, latest)
    start = tf.cast(position * tf.cast(latest + 1, tf.float32), tf.int32)
    start = tf.minimum(start, latest)
    num_bytes = tf.minimum(total - start, configuration.num_samples) * sample_bytes
    # Each signal begins where the one before it ends; only the example itself is decoded.
    parts = [
        tf.strings.substr(features["sources"], (slot * total + start) * sample_bytes, num_bytes)
        for slot in tf.unstack(slots, num_sources)
    ]
    mixture = tf.strings.substr(features[heard], start * sample_bytes, num_bytes)
    pcm = tf.io.decode_raw(
        tf.stack([mixture, *parts]),
        tf.int16,
        fixed_length=configuration.num_samples * sample_bytes,
    )
    return {
        "id": features["id"],
        "pcm": tf.reshape(pcm, [1 + num_sources, configuration.num_samples, num_channels]),
        "speakers": tf.gather(features["speakers"], slots),
    }


def _batch(examples: Pcm, configuration: Configuration) -> Batch:
    signals = tf.cast(examples["pcm"], tf.float32) / FULL_SCALE
    mixture, sources = signals[:, 0], signals[:, 1:]
    if configuration.mixture == "sum_of_sources":
        mixture = tf.reduce_sum(sources, axis=1)
    return {"id": examples["id"], "mixture": mixture, "sources": sources}


def _check_fit(dataset: MixtureDataset, configuration: Configuration) -> None:
    info = dataset.info
    if info.sample_rate != configuration.sample_rate:
        raise UnusableDatasetError(
            f"{dataset.folder}: {info.sample_rate} Hz, but the configuration is for "
            f"{configuration.sample_rate} Hz; render the dataset at that rate"
        )
    if info.num_sources != configuration.num_sources:
        raise UnusableDatasetError(
            f"{dataset.folder}: {info.num_sources} sources in a mixture, but the configuration "
            f"names {configuration.num_sources}: {', '.join(configuration.instrument_list)}"
        )
    if info.instruments and info.instruments != configuration.instrument_list:
        raise UnusableDatasetError(
            f"{dataset.folder}: its sources are {', '.join(info.instruments)}, but the "
            f"configuration names {', '.join(configuration.instrument_list)}; put those into its "
            "instrument_list, in that order"
        )
    if configuration.mixture == "degraded" and not dataset.has_degraded:
        raise UnusableDatasetError(
            f"{dataset.folder}: nothing in it is degraded, but the configuration says mixture"
            " degraded; build it with a recipe that has transmission, or leave that key out"
        )
    if dataset.num_channels not in {1, configuration.n_channels}:
        raise UnusableDatasetError(
            f"{dataset.folder}: {dataset.num_channels} channels, but the configuration is for "
            f"{configuration.n_channels}"
        )


def _check_silence_is_learnt(dataset: MixtureDataset, loss_type: str) -> None:
    assignment, _, measure = loss_type.partition("_")
    if measure in {"si_sdr", "snr"}:
        remedy = f"{assignment}_log_mse"
    elif loss_type == "weighted_L1_mask":
        remedy = "L1_mask"
    else:
        return
    raise UnusableDatasetError(
        f"{dataset.folder}: mixtures of fewer speakers than {dataset.info.num_sources} have silent "
        f"rows, of which a model learns nothing by loss_type {loss_type}; use {remedy}"
    )


def _check_size(path: str, shard: ShardInfo) -> None:
    try:
        num_bytes = tf.io.gfile.stat(path).length
    except tf.errors.NotFoundError:
        raise UnusableDatasetError(
            f"{path}: the shard is missing; copy the dataset again"
        ) from None
    if num_bytes != shard.num_bytes:
        raise UnusableDatasetError(
            f"{path}: {num_bytes} bytes, but {shard.num_bytes} were written; copy the shard again"
        )


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()  # type: ignore[no-any-return]

"""Measures the training examples per second of the input pipeline, from the first step on.

`python -m bench.input_pipeline` uses generated noise in the shapes of two configurations. If
`ffmpeg` is installed, it also measures Spleeter's own pipeline in the shapes of the first one: the
first epoch, in which Spleeter decodes audio, and a later one, read from its cache. If other
programs keep the cores busy, the processor time of an example says more than the rate.
"""

import dataclasses
import itertools
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import tensorflow as tf

from schemas.configuration import Configuration, parse_configuration
from schemas.dataset import (
    COMPLETED,
    DATASET,
    FEATURES,
    Dataset,
    Shard,
    ShardInfo,
    features_document,
)
from schemas.tfrecord import encode_example, write_record
from training.input import Batch, open_dataset, training_batches
from training.spectrogram import stft_magnitudes

NUM_MIXTURES = 32
DURATION_S = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Speed:
    """The speed of a pipeline.

    Attributes:
        rate: examples per second.
        cpu_s: processor time of an example on all cores, in seconds.
    """

    rate: float
    cpu_s: float


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stereo = measure_ours(folder, "unet", num_channels=2, num_examples=64)
        mono = measure_ours(folder, "unet", num_channels=1, num_examples=64)
        measure_ours(folder, "unet_8k", num_channels=1, num_examples=2048)
        if not shutil.which("ffmpeg"):
            print("no ffmpeg: Spleeter's own pipeline is not measured")
            return
        first, cached = measure_spleeter(folder)
    for channels, ours in (("stereo", stereo), ("mono", mono)):
        for epoch, theirs in (("first epoch", first), ("from its cache", cached)):
            print(
                f"ours, {channels}, over Spleeter's, {epoch}: {ours.rate / theirs.rate:.1f} times "
                f"the examples a second, {theirs.cpu_s / ours.cpu_s:.1f} times the examples for "
                "the same processor time"
            )


def measure_ours(folder: Path, name: str, *, num_channels: int, num_examples: int) -> Speed:
    configuration = parse_configuration(_config(name), name)
    path = folder / f"{name}-{num_channels}"
    write_noise(path, configuration.sample_rate, num_channels)
    dataset = open_dataset(str(path), configuration, ["train"])
    batches = training_batches(dataset, configuration, 0).map(
        magnitudes(configuration), num_parallel_calls=tf.data.AUTOTUNE
    )
    kind = f"ours, {name}, {'stereo' if num_channels > 1 else 'mono'} dataset"
    return measure(kind, iter(batches), configuration.batch_size, num_examples)


def magnitudes(configuration: Configuration) -> Callable[[Batch], tuple[Any, Any]]:
    """Computes the magnitudes of the mixture and of each source, as Spleeter's pipeline does."""

    frames = configuration.frame_length, configuration.frame_step, configuration.F

    def of(signal: tf.Tensor) -> tf.Tensor:
        found = stft_magnitudes(signal, *frames)
        if found.shape[-1] == configuration.n_channels:
            return found
        # A mono dataset for a stereo model.
        return tf.broadcast_to(found, [*found.shape[:-1], configuration.n_channels])

    def compute(batch: Batch) -> tuple[Any, Any]:
        return of(batch["mixture"]), of(batch["sources"])

    return compute


def measure(name: str, batches: Iterator[Any], batch_size: int, num_examples: int) -> Speed:
    started_s, started_cpu_s = time.perf_counter(), _cpu_s()
    for _ in itertools.islice(batches, num_examples // batch_size):
        pass
    speed = Speed(
        num_examples / (time.perf_counter() - started_s),
        (_cpu_s() - started_cpu_s) / num_examples,
    )
    print(
        f"{name}: {speed.rate:.1f} examples/s, {1000 * speed.cpu_s:.2f} ms of processor time each",
        flush=True,
    )
    return speed


def write_noise(folder: Path, sample_rate: int, num_channels: int) -> None:
    folder.mkdir()
    shape = (2, DURATION_S * sample_rate, num_channels)
    sources = np.random.default_rng(0).integers(-8000, 8000, shape, np.int16)
    shards = []
    for index in range(4):
        shard = Shard("train", index, 4)
        path = folder / shard.tfrecord("noise")
        with path.open("wb") as file:
            for number in range(NUM_MIXTURES // 4):
                features = {
                    "id": f"{index}-{number}".encode(),
                    "mixture": sources.sum(axis=0, dtype=np.int16).tobytes(),
                    "sources": sources.tobytes(),
                    "speakers": [b"a", b"b"],
                    "offsets_s": [0.0, 0.0],
                }
                write_record(file, encode_example(features))
        shards.append(ShardInfo(shard, NUM_MIXTURES // 4, path.stat().st_size, "00000000"))
    dataset = Dataset("noise", sample_rate, 2, "", tuple(shards))
    (folder / DATASET).write_text(dataset.to_json())
    (folder / FEATURES).write_text(json.dumps(features_document(2, num_channels)))
    (folder / COMPLETED).touch()


def measure_spleeter(folder: Path) -> tuple[Speed, Speed]:
    from spleeter.audio.adapter import AudioAdapter
    from spleeter.dataset import get_training_dataset

    logging.getLogger("spleeter").setLevel(logging.WARNING)
    params = json.loads(_config("unet")) | {
        "train_csv": str(folder / "train.csv"),
        "training_cache": str(folder / "cache" / "training"),
        "n_chunks_per_song": 1,
    }
    rate = params["sample_rate"]
    names = [params["mix_name"], *params["instrument_list"]]
    rows = [",".join([f"{name}_path" for name in names] + ["duration"])]
    random = np.random.default_rng(0)
    for number in range(NUM_MIXTURES):
        paths = [f"{number}-{name}.wav" for name in names]
        for path in paths:
            noise = random.uniform(-0.3, 0.3, (DURATION_S * rate + rate, params["n_channels"]))
            soundfile.write(folder / path, noise, rate)
        rows.append(",".join([*paths, str(DURATION_S + 1)]))
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    batches = iter(get_training_dataset(params, AudioAdapter.default(), str(folder)))
    batch_size = params["batch_size"]
    return (
        measure("Spleeter, first epoch", batches, batch_size, NUM_MIXTURES),
        measure("Spleeter, from its cache", batches, batch_size, 2 * NUM_MIXTURES),
    )


def _config(name: str) -> str:
    return resources.files("training").joinpath(f"configs/{name}.json").read_text("utf-8")


def _cpu_s() -> float:
    """Returns the processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()

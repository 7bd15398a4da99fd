"""How many training examples a second the input pipeline makes, from the first step on.

`python -m bench.input_pipeline` measures it on generated noise at the shapes of two configurations,
and beside it, where `ffmpeg` is installed, Spleeter's own pipeline at the shapes of the first: its
first epoch, in which it decodes, and a later one, which it reads from its cache.
"""

import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable
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
from training.spectrogram import stft

NUM_MIXTURES = 32
DURATION_S = 20
NUM_EXAMPLES = {"unet": 64, "unet_8k": 2048}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, num_examples in NUM_EXAMPLES.items():
            text = resources.files("training").joinpath(f"configs/{name}.json").read_text("utf-8")
            configuration = parse_configuration(text, name)
            path = Path(folder) / name
            write_noise(path, configuration)
            dataset = open_dataset(str(path), configuration, ["train"])
            batches = training_batches(dataset, configuration, 0).map(
                magnitudes(configuration), num_parallel_calls=tf.data.AUTOTUNE
            )
            report(f"ours, {name}", batches, configuration.batch_size, num_examples)
        if shutil.which("ffmpeg"):
            measure_spleeter(Path(folder))
        else:
            print("no ffmpeg: Spleeter's own pipeline is not measured")


def magnitudes(configuration: Configuration) -> Callable[[Batch], tuple[Any, Any]]:
    """What Spleeter's pipeline gives: the magnitudes of the mixture and of each source."""
    frames = configuration.frame_length, configuration.frame_step, configuration.F

    def compute(batch: Batch) -> tuple[Any, Any]:
        mixture, sources = tf.abs(stft(batch["mixture"], *frames)), stft(batch["sources"], *frames)
        repeats = configuration.n_channels // mixture.shape[-1]
        return tf.repeat(mixture, repeats, -1), tf.repeat(tf.abs(sources), repeats, -1)

    return compute


def report(name: str, batches: Any, batch_size: int, num_examples: int) -> None:
    started_s = time.perf_counter()
    for _ in itertools.islice(batches, num_examples // batch_size):
        pass
    rate = num_examples / (time.perf_counter() - started_s)
    print(f"{name}: {rate:.1f} examples/s", flush=True)


def write_noise(folder: Path, configuration: Configuration) -> None:
    folder.mkdir()
    num_samples = DURATION_S * configuration.sample_rate
    sources = np.random.default_rng(0).integers(-8000, 8000, (2, num_samples), np.int16)
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
    dataset = Dataset("noise", configuration.sample_rate, 2, "", tuple(shards))
    (folder / DATASET).write_text(dataset.to_json())
    (folder / FEATURES).write_text(json.dumps(features_document(2)))
    (folder / COMPLETED).touch()


def measure_spleeter(folder: Path) -> None:
    from spleeter.audio.adapter import AudioAdapter
    from spleeter.dataset import get_training_dataset

    text = resources.files("training").joinpath("configs/unet.json").read_text("utf-8")
    params = json.loads(text) | {
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
    report("Spleeter, first epoch", batches, params["batch_size"], NUM_MIXTURES)
    report("Spleeter, from its cache", batches, params["batch_size"], 2 * NUM_MIXTURES)


if __name__ == "__main__":
    main()

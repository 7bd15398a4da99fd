"""Measures how long a training step takes, and how much of that is waiting for the input pipeline.

`python -m bench.training_step [--config NAME ...] [--dataset DATASET]` takes a dataset that fits
the configurations; without one, it generates a dataset of noise for each. If other programs keep
the cores busy, the processor time says more than the seconds.
"""

import argparse
import tempfile
import time
from importlib import resources
from pathlib import Path

import tensorflow as tf

from bench.input_pipeline import write_noise
from schemas.configuration import Configuration, parse_configuration
from training.input import open_dataset, training_batches
from training.model_dir import TrainingState
from training.training_loop import build_train_step

NUM_STEPS = 10
CONFIGS = ("unet_8k", "joint_tcn_mask_8k", "joint_tasnet_8k", "joint_tasnet_joined_8k")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training_step", description=__doc__)
    parser.add_argument("--dataset")
    parser.add_argument("--config", nargs="*", default=CONFIGS)
    options = parser.parse_args()
    for name in options.config:
        text = resources.files("training").joinpath(f"configs/{name}.json").read_text("utf-8")
        configuration = parse_configuration(text, name)
        if options.dataset:
            measure(name, configuration, options.dataset)
            continue
        with tempfile.TemporaryDirectory() as folder:
            noise = Path(folder) / "noise"
            write_noise(noise, configuration.sample_rate, configuration.n_channels)
            measure(name, configuration, str(noise))


def measure(name: str, configuration: Configuration, folder: str) -> None:
    dataset = open_dataset(folder, configuration, ["train"])
    state = TrainingState(configuration)
    train_step = tf.function(build_train_step(configuration, state), autograph=False)
    batches = iter(training_batches(dataset, configuration, 0))
    waited_s = computed_s = cpu_s = 0.0
    for step in range(NUM_STEPS + 1):
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        batch = next(batches)
        got_s = time.perf_counter()
        del batch["id"]
        float(train_step(batch))
        # The first step builds the graph.
        if step:
            waited_s += got_s - started_s
            computed_s += time.perf_counter() - got_s
            cpu_s += time.process_time() - started_cpu_s
    total_s = waited_s + computed_s
    audio_s = configuration.batch_size * configuration.num_samples / configuration.sample_rate
    print(
        f"{name}: {total_s / NUM_STEPS:.2f} s a step of {configuration.batch_size} examples, "
        f"{100 * waited_s / total_s:.1f} % of it waiting for data; "
        f"{1000 * cpu_s / NUM_STEPS / audio_s:.0f} ms of processor time for a second of audio",
        flush=True,
    )


if __name__ == "__main__":
    main()

"""How long a training step takes, and how much of it is waiting for the input pipeline.

`python -m bench.training_step --dataset DATASET [--config NAME ...]` takes a dataset that fits the
configurations: with those of 8 kHz, one of two speakers at 8 kHz.
"""

import argparse
import time
from importlib import resources

import tensorflow as tf

from schemas.configuration import parse_configuration
from training.input import open_dataset, training_batches
from training.model_dir import TrainingState
from training.train import build_train_step

NUM_STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training_step", description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--config", nargs="*", default=["unet_8k", "joint_tcn_mask_8k"])
    options = parser.parse_args()
    for name in options.config:
        measure(name, options.dataset)


def measure(name: str, folder: str) -> None:
    text = resources.files("training").joinpath(f"configs/{name}.json").read_text("utf-8")
    configuration = parse_configuration(text, name)
    dataset = open_dataset(folder, configuration, ["train"])
    state = TrainingState(configuration)
    train_step = tf.function(build_train_step(configuration, state), autograph=False)
    batches = iter(training_batches(dataset, configuration, 0))
    waited_s = computed_s = 0.0
    for step in range(NUM_STEPS + 1):
        started_s = time.perf_counter()
        batch = next(batches)
        got_s = time.perf_counter()
        del batch["id"]
        float(train_step(batch))
        # The first step is the one that builds the graph.
        if step:
            waited_s += got_s - started_s
            computed_s += time.perf_counter() - got_s
    total_s = waited_s + computed_s
    print(
        f"{name}: {total_s / NUM_STEPS:.2f} s a step of {configuration.batch_size} examples, "
        f"{100 * waited_s / total_s:.1f} % of it waiting for data",
        flush=True,
    )


if __name__ == "__main__":
    main()

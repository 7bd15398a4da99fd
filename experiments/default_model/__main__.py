"""Makes the separator that ships with the project: `python -m experiments.default_model --help`.

It builds mixtures of every corpus by each of the recipes for training, trains the network on them,
a batch of each in turn so that a small corpus counts as much as a large one, exports a bundle, and
measures it on speakers of the first corpus whom it has not heard. Run again, each step goes on
where it stopped.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.default_model import CONFIGURATION, SPLITS
from experiments.default_model.steps import build_mixtures, run_steps
from schemas.dataset import COMPLETED

# As in training. In longer windows the outputs swap, and `separate_archive` can put only whole
# windows in order, and what is between pauses.
WINDOW_S = 4

TRAINING = ("train_overlapped", "train_partly", "train_far")
NUM_TRAINING_MIXTURES = 6000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or that of the step that failed."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "--corpus",
        action="append",
        required=True,
        help="clean speech; may be repeated; the first one is tested on too",
    )
    parser.add_argument("--noise", required=True, help="a folder of noise")
    parser.add_argument("--rooms", required=True, help="a folder of recorded room responses")
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="the folder for everything in between",
    )
    parser.add_argument("--minutes", type=float, required=True, help="how long it trains")
    parser.add_argument(
        "--start_from",
        help="a bundle of the same network to go on from; else from random weights",
    )
    parser.add_argument("--output", required=True, help="the folder of the bundle")
    parser.add_argument(
        "--config", default=os.path.relpath(str(CONFIGURATION)), help="of the network (%(default)s)"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run_steps(commands(options))


def commands(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yields the command of each step, leaving out datasets that are finished."""
    work: Path = options.work
    model_dir = str(work / "model")
    datasets = []
    for number, corpus in enumerate(options.corpus):
        for recipe in TRAINING:
            dataset = work / f"{recipe}-{number}"
            datasets.append(dataset)
            if not (dataset / COMPLETED).exists():
                yield build_mixtures(
                    corpus,
                    recipe,
                    dataset,
                    NUM_TRAINING_MIXTURES,
                    splits=SPLITS,
                    noise=options.noise,
                    rooms=options.rooms,
                )
    train = ["training.train", "--config", options.config, "--model_dir", model_dir]
    if options.start_from:
        train += ["--start_from", options.start_from]
    for dataset in datasets:
        train += ["--dataset", str(dataset)]
    yield [*train, "--max_minutes", f"{options.minutes:g}"]
    export = ["training.export", "--model_dir", model_dir, "--output", options.output]
    yield [*export, "--window_s", f"{WINDOW_S:g}"]
    measure = ["experiments.default_model.measure", "--corpus", options.corpus[0]]
    measure += ["--noise", options.noise, "--rooms", options.rooms]
    yield [*measure, "--work", str(work / "measured"), "--bundle", options.output]


if __name__ == "__main__":
    sys.exit(main())

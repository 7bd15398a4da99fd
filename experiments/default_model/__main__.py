"""Makes the separator that ships with the project: `python -m experiments.default_model --help`.

It builds mixtures of every corpus by each of the recipes for training, trains the network on them,
a batch of each in turn so that a small corpus counts as much as a large one, evaluates it on
speakers of the first corpus whom it has not heard, and exports a bundle with a card. Run again,
each step goes on where it stopped.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from command_line.exit_status import DONE, SOME_REJECTED
from experiments.default_model import CONFIGURATION, SAMPLE_RATE, SPLITS, recipe_path
from schemas.dataset import COMPLETED

_LOG = logging.getLogger(__name__)

# As in training. In longer windows the outputs swap, and `separate_archive` can put only whole
# windows in order, and what is between pauses.
WINDOW_S = 4

TRAINING = ("train_overlapped", "train_partly", "train_far")
NUM_TRAINING_MIXTURES = 6000
# The number of mixtures in all splits together. A conversation lasts two minutes, so that few of
# them hold as much speech as many short mixtures.
TESTS = {
    "librimix": 1000,
    "sparse": 1000,
    "conversation": 100,
    "test_noise_10_db": 1000,
    "test_rooms": 1000,
    "test_level_0_db": 1000,
    "test_level_5_db": 1000,
    "test_level_10_db": 1000,
}


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
    for command in commands(options):
        _LOG.info("%s", " ".join(command))
        status = subprocess.run([sys.executable, "-m", *command], check=False).returncode
        # A few unusable files of noise do not make a dataset worse to train on.
        if status not in {DONE, SOME_REJECTED}:
            return status
    return DONE


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
                yield _build(options, corpus, recipe, dataset, NUM_TRAINING_MIXTURES)
    train = ["training.train", "--config", options.config, "--model_dir", model_dir]
    if options.start_from:
        train += ["--start_from", options.start_from]
    for dataset in datasets:
        train += ["--dataset", str(dataset)]
    yield [*train, "--max_minutes", f"{options.minutes:g}"]
    for recipe, num_mixtures in TESTS.items():
        dataset = work / recipe
        if not (dataset / COMPLETED).exists():
            yield _build(options, options.corpus[0], recipe, dataset, num_mixtures)
        evaluate = ["training.evaluate", "--model_dir", model_dir, "--dataset", str(dataset)]
        yield [*evaluate, "--output", str(work / "evaluations" / recipe)]
    export = ["training.export", "--model_dir", model_dir, "--output", options.output]
    yield [*export, "--window_s", f"{WINDOW_S:g}"]
    card = ["experiments.default_model.card", "--evaluations", str(work / "evaluations")]
    yield [*card, "--bundle", options.output]


def _build(
    options: argparse.Namespace, corpus: str, recipe: str, dataset: Path, num_mixtures: int
) -> list[str]:
    path = recipe_path(recipe)
    command = ["beam_jobs.build_mixtures", "--corpus", corpus, "--output", str(dataset)]
    command += ["--recipe", str(path) if path.exists() else recipe, "--splits", SPLITS]
    command += ["--num_mixtures", str(num_mixtures), "--sample_rate", str(SAMPLE_RATE)]
    keys = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if "noise" in keys:
        command += ["--noise", options.noise]
    if keys.get("rooms") == "recorded":
        command += ["--rooms", options.rooms]
    return command


if __name__ == "__main__":
    sys.exit(main())

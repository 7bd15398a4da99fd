"""Trains a model: `python -m training.train --config CONFIG --dataset DATASET --model_dir DIR`.

Run again, the same command goes on from the last checkpoint with the batches that come next. Ctrl-C
and SIGTERM save a checkpoint before training stops.
"""

import argparse
import sys
from collections.abc import Sequence

from command_line.options import make_parser
from training.command import configuration_names, read_configuration, run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.train", "train-separator", description=__doc__)
    parser.add_argument(
        "--config",
        required=True,
        metavar="NAME|FILE",
        help="Spleeter's JSON configuration, or one of those that ship:"
        f" {', '.join(configuration_names('training'))}",
    )
    parser.add_argument(
        "--dataset",
        action="append",
        required=True,
        metavar="FOLDER",
        help="the folder of a mixture dataset; given several times, each gives a batch in turn",
    )
    parser.add_argument(
        "--model_dir", required=True, metavar="FOLDER", help="where checkpoints are kept"
    )
    parser.add_argument(
        "--start_from",
        metavar="BUNDLE",
        help="a bundle of the same network, whose weights a new model begins with",
    )
    parser.add_argument("--max_steps", type=int, help="stop here rather than at train_max_steps")
    parser.add_argument("--max_minutes", type=float, help="stop after so long, this run alone")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(build_parser(), _train, argv, name="training.train", resumes=True)


def _train(options: argparse.Namespace) -> None:
    from schemas.configuration import parse_configuration  # noqa: PLC0415
    from training.training_loop import train  # noqa: PLC0415

    train(
        parse_configuration(read_configuration(options.config, "training"), options.config),
        options.dataset,
        options.model_dir,
        start_from=options.start_from,
        max_steps=options.max_steps,
        max_minutes=options.max_minutes,
    )


if __name__ == "__main__":
    sys.exit(main())

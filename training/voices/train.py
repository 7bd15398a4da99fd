"""Trains speaker embeddings: `python -m training.voices.train --config C --speech S --model_dir M`.

Run again, the same command goes on from the last checkpoint with the batches that come next. Ctrl-C
and SIGTERM save before they stop.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from command_line.options import make_parser
from training.command import configuration_names, read_configuration, run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.voices.train", "train-voices", description=__doc__)
    parser.add_argument(
        "--config",
        required=True,
        metavar="NAME|FILE",
        help="a voice configuration, or one of those that ship:"
        f" {', '.join(configuration_names('training.voices'))}",
    )
    parser.add_argument(
        "--speech", required=True, type=Path, help="as training.voices.speech packs it"
    )
    parser.add_argument("--model_dir", required=True, type=Path, help="where checkpoints are kept")
    parser.add_argument(
        "--start_from",
        type=Path,
        help="the folder of a model of the same network, trained or exported, whose weights a new"
        " one begins with",
    )
    parser.add_argument("--max_minutes", type=float, default=math.inf, help="of this run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    name = "training.voices.train"
    return run_training_command(build_parser(), _train, argv, name=name, resumes=True)


def _train(options: argparse.Namespace) -> None:
    from schemas.voice_configuration import parse_voice_configuration  # noqa: PLC0415
    from training.voices.training_loop import train  # noqa: PLC0415

    text = read_configuration(options.config, "training.voices")
    train(
        parse_voice_configuration(text, options.config),
        options.speech,
        options.model_dir,
        start_from=options.start_from,
        max_minutes=options.max_minutes,
    )


if __name__ == "__main__":
    sys.exit(main())

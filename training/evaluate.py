"""Compares models: `python -m training.evaluate --model_dir DIR --dataset TEST --output REPORT`.

Each model separates the mixtures of the split `test`, and is scored between two bounds on the same
audio: the unprocessed mixture and the ideal ratio mask. REPORT is a folder with `report.txt`,
`report.json`, and `report.html` with audio players.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from command_line.options import make_parser
from training.command import run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.evaluate", "evaluate-separator", description=__doc__)
    parser.add_argument(
        "--model_dir",
        action="append",
        required=True,
        metavar="FOLDER",
        help="of a trained model; may be repeated",
    )
    parser.add_argument(
        "--dataset", required=True, metavar="FOLDER", help="the folder of a mixture dataset"
    )
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="the folder of the report"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(build_parser(), _evaluate, argv, name="training.evaluate")


def _evaluate(options: argparse.Namespace) -> None:
    from scoring.report_files import PAGE  # noqa: PLC0415
    from training.evaluation import evaluate  # noqa: PLC0415

    print(evaluate(options.model_dir, options.dataset, options.output))
    print(f"the report: {os.path.join(os.path.abspath(options.output), PAGE)}")


if __name__ == "__main__":
    sys.exit(main())

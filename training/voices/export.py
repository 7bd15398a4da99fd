"""Writes the model that separation takes: `python -m training.voices.export --help`.

The model is measured on the split `test` of the speech; the results are in its description.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from command_line.options import make_parser
from training.command import run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.voices.export", "export-voices", description=__doc__)
    parser.add_argument("--model_dir", required=True, type=Path, help="of a trained model")
    parser.add_argument("--speech", required=True, type=Path, help="that it was trained on")
    parser.add_argument("--output", required=True, type=Path, help="the folder that is made")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(build_parser(), _export, argv, name="training.voices.export")


def _export(options: argparse.Namespace) -> None:
    from training.voices.model_export import export  # noqa: PLC0415

    model = export(options.model_dir, options.speech, options.output)
    print(
        f"done: the voice model {options.output}: {model.dimension} numbers for a voice at"
        f" {model.sample_rate} Hz, {model.provenance.steps} steps"
    )


if __name__ == "__main__":
    sys.exit(main())

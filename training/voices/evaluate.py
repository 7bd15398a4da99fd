"""Measures speaker embeddings: `python -m training.voices.evaluate --model M --speech SPEECH`.

Compares all pairs of crops of three seconds, without pauses, of the speakers in the split `test`,
and prints the equal error rates of telling pairs of one speaker from pairs of two.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from command_line.options import make_parser
from schemas.errors import UserError
from training.command import positive_number, run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.voices.evaluate", "evaluate-voices", description=__doc__)
    parser.add_argument("--model", required=True, help="as training.voices.export wrote it")
    parser.add_argument("--speech", required=True, type=Path, help="as packed")
    parser.add_argument("--crop_s", type=positive_number, default=3.0, help="(%(default)g)")
    parser.add_argument("--json", type=Path, help="a file that gets the figures too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(build_parser(), _evaluate, argv, name="training.voices.evaluate")


def _evaluate(options: argparse.Namespace) -> None:
    from training.local_files import write_text  # noqa: PLC0415
    from training.voices.packed_speech import open_speech  # noqa: PLC0415
    from training.voices.trials import evaluate, format_trials, load_voice_model  # noqa: PLC0415

    model, embed = load_voice_model(options.model)
    packed = open_speech(options.speech)
    for one in packed:
        if one.sample_rate != model.sample_rate:
            raise UserError(
                f"{options.speech}: {one.dataset} has speech at {one.sample_rate} Hz, and"
                f" {options.model} is for {model.sample_rate} Hz"
            )
    trials = evaluate(embed, packed, "test", options.crop_s)
    if not trials:
        raise UserError(
            f"{options.speech}: no two speakers of the split test have {options.crop_s:g} s of"
            " speech each: pack more, or give a shorter --crop_s"
        )
    print(format_trials(trials))
    if options.json:
        rows = [dataclasses.asdict(one) for one in trials]
        write_text(options.json, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""Compares the architectures, each trained for equally long, in one table.

`python -m training.verdict --dataset DATASET --output FOLDER --minutes 20` trains each of five of
the configurations that ship on the same data, then compares them on the split `test`, whose
speakers none of them has heard. A model that has been trained already is not trained again.

FOLDER gets a folder for each model, the report of `training.evaluate`, `curves.svg` with the
validations over time, and `commands.txt`.
"""

import argparse
import logging
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from command_line.options import make_parser
from schemas.errors import UserError
from training.command import run_training_command

_LOG = logging.getLogger(__name__)

MODELS = (
    "unet_8k",
    "blstm_8k",
    "softmax_unet_8k",
    "joint_tcn_mask_8k",
    "joint_tcn_mask_onset_8k",
)

_TRAINED = "TRAINED"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.verdict", "compare-architectures", description=__doc__)
    parser.add_argument("--dataset", required=True, help="two speakers, 8 kHz, all three splits")
    parser.add_argument("--output", required=True, type=Path, help="a local folder")
    parser.add_argument("--minutes", type=float, default=20, help="for each model; 20 if not given")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(
        build_parser(), _compare, argv, name="training.verdict", resumes=True
    )


def _compare(options: argparse.Namespace) -> None:
    from training.curves import plot_curves  # noqa: PLC0415

    folders = {name: options.output / name for name in MODELS}
    commands = []
    for name, folder in folders.items():
        command = _command("train", "--config", name, "--dataset", options.dataset)
        command += ["--model_dir", str(folder), "--max_minutes", f"{options.minutes:g}"]
        commands.append(command)
        if not (folder / _TRAINED).exists():
            _LOG.info("training %s for %g minutes", name, options.minutes)
            _run(command)
            (folder / _TRAINED).touch()
    command = _command("evaluate", "--dataset", options.dataset, "--output", str(options.output))
    for folder in folders.values():
        command += ["--model_dir", str(folder)]
    commands.append(command)
    text = "".join(shlex.join(["python", *command[1:]]) + "\n" for command in commands)
    (options.output / "commands.txt").write_text(text, encoding="utf-8")
    plot_curves(folders, options.output / "curves.svg")
    _run(command)


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"training.{module}", *arguments]


def _run(command: Sequence[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"{command[2]} failed: see above")


if __name__ == "__main__":
    sys.exit(main())

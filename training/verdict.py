"""Compares the architectures, each trained for equally long, in one table.

`python -m training.verdict --dataset DATASET --output FOLDER --minutes 20` trains each of the
shipped configurations below on the same data, then compares them on the split `test`, whose
speakers none of them has heard. A model that has been trained already is not trained again.

FOLDER gets a folder for each model, the report of `training.evaluate`, `curves.svg` with the
validations over time, and `commands.txt`.
"""

import argparse
import logging
import os
import shlex
import subprocess
import sys
from importlib import resources
from pathlib import Path

import matplotlib.figure
import tensorflow as tf

_LOG = logging.getLogger(__name__)

MODELS = (
    "unet_8k",
    "blstm_8k",
    "softmax_unet_8k",
    "joint_tcn_mask_8k",
    "joint_tcn_mask_onset_8k",
)

_TRAINED = "TRAINED"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m training.verdict", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--dataset", required=True, help="two speakers, 8 kHz, all three splits")
    parser.add_argument("--output", required=True, type=Path, help="a local folder")
    parser.add_argument("--minutes", type=float, default=20, help="for each model; 20 if not given")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folders = {name: options.output / name for name in MODELS}
    commands = []
    for name, folder in folders.items():
        config = os.path.relpath(str(resources.files("training") / f"configs/{name}.json"))
        command = _command("train", "--config", config, "--dataset", options.dataset)
        command += ["--model_dir", str(folder), "--max_minutes", f"{options.minutes:g}"]
        commands.append(command)
        if not (folder / _TRAINED).exists():
            _LOG.info("training %s for %g minutes", name, options.minutes)
            if subprocess.run(command, check=False).returncode:
                return 1
            (folder / _TRAINED).touch()
    command = _command("evaluate", "--dataset", options.dataset, "--output", str(options.output))
    for folder in folders.values():
        command += ["--model_dir", str(folder)]
    commands.append(command)
    text = "".join(shlex.join(["python", *command[1:]]) + "\n" for command in commands)
    (options.output / "commands.txt").write_text(text, encoding="utf-8")
    plot_curves(folders, options.output / "curves.svg")
    return subprocess.run(command, check=False).returncode


def plot_curves(folders: dict[str, Path], path: Path) -> None:
    """Plots the validations of each model over the minutes since its training began."""
    figure = matplotlib.figure.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, folder in folders.items():
        minutes, si_sdri_db = validations(folder)
        axes.plot(minutes, si_sdri_db, marker=".", label=name)
    axes.set_xlabel("minutes")
    axes.set_ylabel("validation SI-SDR improvement, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def validations(folder: Path) -> tuple[list[float], list[float]]:
    """Reads the validations of a model from TensorBoard's events.

    Returns:
        The minutes since training began, and the mean SI-SDR improvement in dB, of each.
    """
    started_s = None
    minutes, si_sdri_db = [], []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            started_s = event.wall_time if started_s is None else started_s
            for value in event.summary.value:
                if value.tag == "validation/si_sdri_db":
                    minutes.append((event.wall_time - started_s) / 60)
                    si_sdri_db.append(float(tf.make_ndarray(value.tensor)))
    return minutes, si_sdri_db


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"training.{module}", *arguments]


if __name__ == "__main__":
    sys.exit(main())

"""Steps of an experiment, each of them a command of this project."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from command_line.exit_status import DONE, SOME_REJECTED
from experiments.default_model import SAMPLE_RATE, recipe_path

_LOG = logging.getLogger(__name__)


def run_steps(commands: Iterable[list[str]]) -> int:
    """Runs one command after another; returns the exit status of one that fails, else 0."""
    for command in commands:
        _LOG.info("%s", " ".join(command))
        status = subprocess.run([sys.executable, "-m", *command], check=False).returncode
        # A few unusable files of noise do not make a dataset worse.
        if status not in {DONE, SOME_REJECTED}:
            return status
    return DONE


def build_mixtures(
    corpus: str,
    recipe: str,
    dataset: Path,
    num_mixtures: int,
    *,
    splits: str,
    noise: str,
    rooms: str,
) -> list[str]:
    """Returns the command that builds a dataset.

    Args:
        corpus: the clean speech.
        recipe: the name of a recipe of this experiment, or of a preset.
        dataset: the folder of the dataset.
        num_mixtures: of all splits together.
        splits: the shares of the speakers.
        noise: a folder of noise, for the recipes that have it.
        rooms: a folder of recorded room responses, likewise.
    """
    keys = read_recipe(recipe)
    command = ["beam_jobs.build_mixtures", "--corpus", corpus, "--output", str(dataset)]
    command += ["--recipe", str(recipe_path(recipe)) if keys else recipe, "--splits", splits]
    command += ["--num_mixtures", str(num_mixtures), "--sample_rate", str(SAMPLE_RATE)]
    if "noise" in keys:
        command += ["--noise", noise]
    if keys.get("rooms") == "recorded":
        command += ["--rooms", rooms]
    return command


def read_recipe(recipe: str) -> dict[str, object]:
    """Returns the keys of a recipe of this experiment; none of a preset."""
    path = recipe_path(recipe)
    keys: dict[str, object] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return keys

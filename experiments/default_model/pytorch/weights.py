"""Brings weights from PyTorch to TensorFlow, and back.

`python -m experiments.default_model.pytorch.weights --trained FILE.npz --model_dir DIR` makes a
folder like one that `training.train` leaves; `--bundle DIR --start FILE.npz` makes a file that
`pytorch.train --start_from` takes.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.default_model import CONFIGURATION
from schemas.bundle import parse_training
from schemas.configuration import parse_configuration
from schemas.errors import UserError
from training.bundle_export import read_weights
from training.errors import FILE_ERRORS
from training.model_dir import Metrics, ModelDir, TrainingState

_MAX_DIFFERENCE = 1e-4


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 where the two networks are not the same."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.pytorch.weights",
        description=__doc__,
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--trained", type=Path, help="the file that pytorch.train wrote")
    source.add_argument("--bundle", help="a bundle of the same network")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--model_dir", help="the folder that is made of --trained")
    target.add_argument("--start", type=Path, help="the file that is made of --bundle")
    options = parser.parse_args(arguments)
    if bool(options.trained) != bool(options.model_dir):
        parser.error("--trained goes with --model_dir, and --bundle with --start")
    try:
        if options.trained:
            import_weights(options.trained, options.model_dir)
        else:
            export_weights(options.bundle, options.start)
    except (UserError, *FILE_ERRORS) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def export_weights(bundle: str, path: Path) -> None:
    """Writes the weights of a bundle, .npz, for `pytorch.train --start_from`."""
    configuration = parse_configuration(CONFIGURATION.read_text("utf-8"), str(CONFIGURATION))
    weights = read_weights(bundle, configuration)
    named = {f"weight_{number}": weight for number, weight in enumerate(weights)}
    np.savez(path, num_weights=len(weights), **named)


def import_weights(trained_path: Path, model_dir: str) -> None:
    """Makes a model folder of weights trained in PyTorch.

    Raises:
        UserError: the network does not separate a mixture as the one in PyTorch does.
    """
    configuration = parse_configuration(CONFIGURATION.read_text("utf-8"), str(CONFIGURATION))
    with np.load(trained_path) as trained:
        weights = [trained[f"weight_{number}"] for number in range(int(trained["num_weights"]))]
        state = TrainingState(configuration, weights=weights)
        sources = state.separator.separate(trained["mixture"][..., np.newaxis])[..., 0]
        difference = float(np.abs(sources - trained["sources"]).max())
        print(f"the outputs of both differ by {difference:.1e}")
        if not difference < _MAX_DIFFERENCE:
            raise UserError(f"{trained_path}: is of another network")
        metrics = Metrics(
            steps=int(trained["steps"]),
            validation_loss=float(trained["validation_loss"]),
            validation_si_sdri_db=float(trained["validation_si_sdri_db"]),
            dataset_fingerprint=str(trained["speech_fingerprint"]),
            training=parse_training(json.loads(str(trained["training"]))),
        )
    state.step.assign(metrics.steps)
    folder = ModelDir(model_dir)
    folder.prepare(configuration)
    folder.save(state)
    folder.save_best(state, metrics)


if __name__ == "__main__":
    sys.exit(main())

"""Brings what the mirror has learned into the network itself.

`python -m experiments.default_model.mirror.weights --trained FILE.npz --model_dir DIR`; DIR is as
`training.train` leaves one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.default_model import CONFIGURATION
from schemas.configuration import parse_configuration
from training.model_dir import Metrics, ModelDir, TrainingState

_MAX_DIFFERENCE = 1e-4


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 where the two networks are not the same."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.mirror.weights",
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument("--trained", required=True, type=Path, help="what the mirror wrote")
    parser.add_argument("--model_dir", required=True, help="the folder that is made")
    options = parser.parse_args(arguments)
    configuration = parse_configuration(CONFIGURATION.read_text("utf-8"), str(CONFIGURATION))
    with np.load(options.trained) as trained:
        weights = [trained[f"weight_{number}"] for number in range(int(trained["num_weights"]))]
        state = TrainingState(configuration, weights=weights)
        sources = state.separator.separate(trained["mixture"][..., np.newaxis])[..., 0]
        difference = float(np.abs(sources - trained["sources"]).max())
        print(f"the outputs of both differ by {difference:.1e}")
        if not difference < _MAX_DIFFERENCE:
            print(f"error: {options.trained}: is of another network", file=sys.stderr)
            return 1
        metrics = Metrics(
            steps=int(trained["steps"]),
            validation_loss=-float(trained["si_sdr_db"]),
            validation_si_sdri_db=float(trained["si_sdri_db"]),
            dataset_fingerprint=str(trained["speech_fingerprint"]),
        )
    state.step.assign(metrics.steps)
    folder = ModelDir(options.model_dir)
    folder.prepare(configuration)
    folder.save(state)
    folder.save_best(state, metrics)
    return 0


if __name__ == "__main__":
    sys.exit(main())

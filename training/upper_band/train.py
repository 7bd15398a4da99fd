"""Gives a bundle its upper band: `python -m training.upper_band.train --packed P --bundle BUNDLE`.

Trains the network that shares what is above the separator's band among its outputs, and writes it
into the bundle. What the bundle had as its upper band is replaced.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from command_line.options import make_parser
from schemas.errors import UserError
from training.command import run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.upper_band.train", "train-upper-band", description=__doc__)
    parser.add_argument(
        "--packed", required=True, type=Path, help="as training.upper_band.pack writes it"
    )
    parser.add_argument(
        "--bundle", required=True, type=Path, help="the separator that packed the mixtures"
    )
    parser.add_argument("--steps", type=int, default=3000, help="of training (%(default)d)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(build_parser(), _train, argv, name="training.upper_band.train")


def _train(options: argparse.Namespace) -> None:
    from training.upper_band.bundle_part import read_bundle, write_upper_band  # noqa: PLC0415
    from training.upper_band.packed_mixtures import open_packed  # noqa: PLC0415
    from training.upper_band.training_loop import train  # noqa: PLC0415

    if options.steps < 1:
        raise UserError(f"--steps={options.steps}: training takes at least one")
    # Before the time that training takes.
    read_bundle(options.bundle)
    mixtures, held_out = (open_packed(options.packed, split) for split in ("train", "validation"))
    network = train(mixtures, held_out, options.steps)
    write_upper_band(options.bundle, network, mixtures.fingerprints, options.steps)
    print(f"done: {options.bundle} has an upper band, {network.count_params()} weights")


if __name__ == "__main__":
    sys.exit(main())

"""Packs mixtures to train on: `python -m training.upper_band.pack --dataset D --output PACKED`.

The mixtures, of 16 kHz, go through the separator, window by window. PACKED gets a file for each
split of each dataset, with the energies in bands of its outputs, and of the sources above its band.
Files that are there already are kept.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from command_line.options import make_parser
from training.command import positive_number, run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.upper_band.pack", "pack-upper-band", description=__doc__)
    parser.add_argument(
        "--dataset", action="append", required=True, help="a mixture dataset; may be repeated"
    )
    parser.add_argument(
        "--separator", required=True, metavar="BUNDLE", help="that gets the upper band"
    )
    parser.add_argument(
        "--minutes",
        type=positive_number,
        default=30,
        help="of mixtures of each split of each dataset (%(default)g)",
    )
    parser.add_argument("--output", required=True, type=Path, help="the folder that is made")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    name = "training.upper_band.pack"
    return run_training_command(build_parser(), _pack, argv, name=name, resumes=True)


def _pack(options: argparse.Namespace) -> None:
    from training.upper_band.packed_mixtures import pack  # noqa: PLC0415

    for folder in options.dataset:
        pack(folder, options.output, separator=options.separator, minutes=options.minutes)


if __name__ == "__main__":
    sys.exit(main())

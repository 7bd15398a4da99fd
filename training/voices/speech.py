"""Packs speech of known speakers: `python -m training.voices.speech --dataset D --output SPEECH`.

Every source of a mixture becomes a piece of speech, together with the noise of the mixture. With
`--separator`, the mixtures are also separated, window by window, and the parts of each output where
the other outputs are soft become pieces too, because this is the speech that separation embeds.

SPEECH gets `NAME.clean.pcm` and `NAME.separated.pcm` for each dataset, int16, and for each of them
a `.json` with the speaker of every piece, written last. Files that are there already are kept.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from command_line.options import make_parser
from training.command import positive_number, run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.voices.speech", "pack-voices", description=__doc__)
    parser.add_argument(
        "--dataset", action="append", required=True, help="a mixture dataset; may be repeated"
    )
    parser.add_argument("--separator", help="a bundle that separates the mixtures")
    parser.add_argument(
        "--separated_minutes",
        type=positive_number,
        default=60,
        help="of mixtures that are separated, of each split of each dataset (%(default)g)",
    )
    parser.add_argument("--output", required=True, type=Path, help="the folder that is made")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(
        build_parser(), _pack, argv, name="training.voices.speech", resumes=True
    )


def _pack(options: argparse.Namespace) -> None:
    from training.voices.packed_speech import pack  # noqa: PLC0415

    for folder in options.dataset:
        pack(
            folder,
            options.output,
            separator=options.separator,
            separated_s=60 * options.separated_minutes,
        )


if __name__ == "__main__":
    sys.exit(main())

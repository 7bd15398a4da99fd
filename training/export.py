"""Makes a bundle of a trained model: `python -m training.export --model_dir DIR --output BUNDLE`.

A bundle is a folder that can be used without this project: `saved_model/` for TensorFlow,
`bundle.json` with all that a separation job must know and, for a stereo U-Net, `spleeter/` for
Spleeter itself: `spleeter separate -p BUNDLE/spleeter/config.json`.
"""

import argparse
import sys
from collections.abc import Sequence

from command_line.options import make_parser
from training.command import run_training_command


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser("training.export", "export-separator", description=__doc__)
    parser.add_argument(
        "--model_dir", required=True, metavar="FOLDER", help="the folder of a trained model"
    )
    parser.add_argument(
        "--output", required=True, metavar="BUNDLE", help="the bundle, a new folder"
    )
    parser.add_argument(
        "--window_s",
        type=float,
        help="how many seconds of a recording a joint network separates at once, if not as many"
        " as in training",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_training_command(build_parser(), _export, argv, name="training.export")


def _export(options: argparse.Namespace) -> None:
    from training.bundle_export import export  # noqa: PLC0415

    bundle = export(options.model_dir, options.output, window_s=options.window_s)
    si_sdri_db = bundle.metrics["validation_si_sdri_db"]
    print(
        f"done: the bundle {options.output}: {bundle.num_sources} outputs at"
        f" {bundle.sample_rate} Hz, {bundle.provenance.steps} steps, {si_sdri_db:.2f} dB of SI-SDRi"
        f" in validation; separate_archive takes it as --model {options.output}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Verifies a dataset, one's own or a copied one: every checksum, sum and count.

python -m beam_jobs.verify_dataset --dataset FOLDER [--report FILE] [any Beam option]
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from beam_jobs.dataset.reading import open_dataset
from beam_jobs.dataset.verify_transforms import FindDamage, WriteDamage
from beam_jobs.runtime.exit_status import DONE, FAILED, run_command
from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.runners import make_pipeline, run_pipeline
from beam_jobs.storage import files
from schemas import dataset


def build_parser() -> argparse.ArgumentParser:
    """The options of this job."""
    parser = argparse.ArgumentParser(
        prog="python -m beam_jobs.verify_dataset",
        description="Verifies every checksum, sum and count of a dataset.",
        epilog="Any other option is Beam's. Exit status: 0 sound, 1 damaged.",
        allow_abbrev=False,
    )
    parser.add_argument("--dataset", required=True, metavar="FOLDER", help="what to verify")
    parser.add_argument(
        "--report",
        default="",
        metavar="FILE",
        help=f"the damage, a line of JSON each (default: {dataset.DAMAGE} in the dataset's folder)",
    )
    return parser


def run(argv: Sequence[str]) -> int:
    """Follows a command line and returns the exit status.

    Raises:
        UserError: not a dataset, or a command line that can't be followed.
        OSError: the dataset can't be read, or the report not be written.
    """
    arguments, beam_options = parse_options(build_parser(), argv)
    folder = files.absolute(arguments.dataset)
    described = open_dataset(folder)
    report_path = arguments.report or files.join(folder, dataset.DAMAGE)
    pipeline = make_pipeline(beam_options)
    (
        pipeline
        | "FindDamage" >> FindDamage(folder, described)
        | "WriteDamage" >> WriteDamage(report_path)
    )
    if not run_pipeline(pipeline, beam_options):
        return DONE
    damages = [json.loads(line) for line in files.read_text(report_path).splitlines()]
    for damage in damages:
        print(f"{damage['path']}: {damage['reason']}")
    num_mixtures = sum(info.num_mixtures for info in described.shards)
    if damages:
        print(f"damaged: {len(damages)} findings in {folder}: see {report_path}")
        return FAILED
    files.remove(*os.path.split(report_path))
    given = ""
    if described.mixture_given:
        given = "; mixtures are given, and need not be the sums of their sources"
    print(f"sound: {num_mixtures} mixtures in {len(described.shards)} shards in {folder}{given}")
    return DONE


def main(argv: Sequence[str]) -> int:
    """Follows a command line; whatever happens, the last line says how it ended."""
    return run_command(argv, run, name="verify_dataset", resumes=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

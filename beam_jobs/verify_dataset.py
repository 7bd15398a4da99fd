"""Verifies every checksum, sum and count of a dataset, such as a copied one.

python -m beam_jobs.verify_dataset --dataset FOLDER [--report FILE] [any Beam option]
"""

import argparse
import functools
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence

import apache_beam as beam

from beam_jobs.dataset.reading import open_dataset
from beam_jobs.dataset.verification import read_damage
from beam_jobs.dataset.verify_transforms import FindDamage, WriteDamage
from beam_jobs.runtime.job_folder import check_writable
from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.progress import describe_work, showing_counts
from beam_jobs.runtime.runners import make_pipeline, run_pipeline
from beam_jobs.storage import files
from command_line.exit_status import DONE, FAILED, run_command
from command_line.options import make_parser
from schemas import dataset
from schemas.dataset import Dataset
from schemas.errors import UserError

_NAME = "verify_dataset"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this job."""
    parser = make_parser(
        "beam_jobs.verify_dataset",
        "verify-dataset",
        description="Verifies every checksum, sum and count of a dataset.",
        epilog="Any other option is Beam's. Exit status: 0 sound, 1 damaged.",
    )
    parser.add_argument("--dataset", required=True, metavar="FOLDER", help="what to verify")
    parser.add_argument(
        "--report",
        default="",
        metavar="FILE",
        help=f"the damage, a line of JSON each (default: {dataset.DAMAGE} in the dataset's folder,"
        " or among this machine's temporary files if that can't be written)",
    )
    return parser


def verify_dataset(
    pipeline: beam.Pipeline,
    folder: str,
    described: Dataset,
    *,
    report_path: str,
    counts_folder: str,
) -> None:
    """Builds the pipeline: from a dataset to a report of what is damaged in it."""
    (
        pipeline
        | "FindDamage" >> FindDamage(folder, described, counts_folder=counts_folder)
        | "WriteDamage" >> WriteDamage(report_path)
    )


def run(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit status.

    Raises:
        UserError: not a dataset, a command line that can't be followed, or a report that can't be
            written.
        OSError: the dataset can't be read.
    """
    arguments, beam_options = parse_options(build_parser(), argv)
    folder = files.absolute(arguments.dataset)
    described = open_dataset(folder)
    report_path = _choose_report(arguments.report, folder)
    pipeline = make_pipeline(beam_options, _NAME)
    counts_folder = f"{report_path}.progress"
    verify_dataset(
        pipeline, folder, described, report_path=report_path, counts_folder=counts_folder
    )
    describe = functools.partial(
        describe_work, total=described.num_mixtures, unit="mixtures", rejected="damaged"
    )
    with showing_counts(counts_folder, describe):
        if not run_pipeline(pipeline, beam_options):
            return DONE
    return _print_result(folder, described, report_path)


def _choose_report(asked: str, folder: str) -> str:
    """Returns the path of the report, once it is known that it can be written."""
    if asked:
        path = files.absolute(asked)
        if os.path.isdir(path):
            raise UserError(f"--report={asked}: a folder: name a file in it")
        check_writable(os.path.dirname(path), remedy="name another --report")
        return path
    try:
        check_writable(folder, remedy="name a --report elsewhere")
    except files.OutputError:
        # Somebody else's dataset, or one on a read-only disk, can be as sound as any other.
        return files.join(tempfile.gettempdir(), f"{uuid.uuid4().hex}-{dataset.DAMAGE}")
    return files.join(folder, dataset.DAMAGE)


def _print_result(folder: str, described: Dataset, report_path: str) -> int:
    if not files.exists(report_path):
        raise UserError(
            f"{report_path}: not there: the workers write to another disk: name a --report that"
            " they and this machine share"
        )
    damages = read_damage(report_path)
    for damage in damages:
        print(f"{damage.path}: {damage.reason}")
    if damages:
        print(f"damaged: {len(damages)} findings in {folder}: see {report_path}")
        return FAILED
    files.remove(*os.path.split(report_path))
    given = ""
    if described.mixture_given:
        given = "; mixtures are given, and need not be the sums of their sources"
    counted = f"{described.num_mixtures} mixtures in {len(described.shards)} shards"
    print(f"sound: {counted} in {folder}{given}")
    return DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the last line it prints says how it ended."""
    return run_command(argv, run, name=_NAME, resumes=False)


if __name__ == "__main__":
    sys.exit(main())

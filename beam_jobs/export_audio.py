"""Exports a dataset as audio files, for other people's tools.

python -m beam_jobs.export_audio --dataset FOLDER --output FOLDER --layout NAME [any Beam option]
"""

import argparse
import sys
from collections.abc import Sequence

import soundfile

from beam_jobs.dataset.reading import has_noise, open_dataset
from beam_jobs.export import LAYOUTS, find_layout
from beam_jobs.export.export_transforms import ExportShards, FinishExport
from beam_jobs.export.layout import Export
from beam_jobs.runtime.dead_letters import read_rejected
from beam_jobs.runtime.exit_status import DONE, SOME_REJECTED, run_command
from beam_jobs.runtime.job_folder import AnotherJobError, claim
from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.runners import make_pipeline, run_pipeline
from beam_jobs.storage import files
from schemas.dataset import COMPLETED, DATASET, REJECTED
from schemas.errors import UserError
from schemas.export_job import ExportJob, parse_export_job

JOB = "export.json"


def build_parser() -> argparse.ArgumentParser:
    """The options of this job."""
    parser = argparse.ArgumentParser(
        prog="python -m beam_jobs.export_audio",
        description="Exports a dataset as audio files, for other people's tools.",
        epilog="Any other option is Beam's. Exit status: 0 done, 3 done but some shards are"
        " damaged, 1 failed.",
        allow_abbrev=False,
    )
    parser.add_argument("--dataset", required=True, metavar="FOLDER", help="what to export")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="local or gs://")
    parser.add_argument(
        "--layout",
        required=True,
        choices=[layout.NAME for layout in LAYOUTS],
        help="spleeter: what stock 'spleeter train' reads; librimix: what asteroid and SpeechBrain"
        " read; folders: a folder for each mixture",
    )
    parser.add_argument(
        "--audio_format",
        default="wav",
        choices=("wav", "flac"),
        help="of the files, 16 bits in any case (default: wav)",
    )
    return parser


def run(argv: Sequence[str]) -> int:
    """Follows a command line and returns the exit status.

    Raises:
        UserError: not a dataset, or a command line that can't be followed.
        OSError: the dataset can't be read, or the output not be written.
    """
    arguments, beam_options = parse_options(build_parser(), argv)
    dataset_folder = files.absolute(arguments.dataset)
    described = open_dataset(dataset_folder)
    export = Export(
        dataset_folder=dataset_folder,
        described=described,
        has_noise=has_noise(dataset_folder),
        output=files.absolute(arguments.output),
        layout_name=arguments.layout,
        audio_format=arguments.audio_format,
    )
    find_layout(export.layout_name).check(described)
    _claim(export)
    if not _is_complete(export):
        # Temporary files of a killed run, and a COMPLETED that was written without what is damaged.
        for pattern in (f"**{files.TEMPORARY_INFIX}*", COMPLETED):
            files.remove(export.output, pattern)
        pipeline = make_pipeline(beam_options)
        (pipeline | "ExportShards" >> ExportShards(export) | "FinishExport" >> FinishExport(export))
        if not run_pipeline(pipeline, beam_options):
            return DONE
    return _print_result(export)


def _claim(export: Export) -> None:
    """Makes the output this job's, or checks that it is already.

    Raises:
        AnotherJobError: the output holds something else.
    """
    if files.exists(export.path(DATASET)):
        raise AnotherJobError(f"{export.output} holds a dataset: name another --output")
    job = ExportJob(
        dataset=export.described.name,
        fingerprint=export.described.fingerprint,
        layout=export.layout_name,
        audio_format=export.audio_format,
        versions=(f"libsndfile {soundfile.__libsndfile_version__}",),
    )
    claim(export.path(JOB), job, parse_export_job, remedy="name another --output")


def _is_complete(export: Export) -> bool:
    """Returns whether nothing is missing; damaged shards may have been mended since."""
    return files.exists(export.path(COMPLETED)) and not read_rejected(export.path(REJECTED))


def _print_result(export: Export) -> int:
    path = export.path(REJECTED)
    rejected = read_rejected(path)
    if not files.exists(export.path(COMPLETED)):
        raise UserError(f"nothing to export that is not damaged: see {path}")
    num_exported = int(files.read_text(export.path(COMPLETED)))
    done = f"done: {num_exported} mixtures in {export.output}"
    if rejected:
        print(f"{done}; {len(rejected)} things could not be exported: see {path}")
        return SOME_REJECTED
    print(done)
    return DONE


def main(argv: Sequence[str]) -> int:
    """Follows a command line; whatever happens, the last line says how it ended."""
    return run_command(argv, run, name="export_audio")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

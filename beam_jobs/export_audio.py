"""Exports a dataset as audio files, for other people's tools.

python -m beam_jobs.export_audio --dataset FOLDER --output FOLDER --layout NAME [any Beam option]
"""

import argparse
import functools
import sys
from collections.abc import Sequence

import apache_beam as beam

from beam_jobs.dataset.reading import enrolment_samples, has_feature, open_dataset
from beam_jobs.export import LAYOUTS, find_layout, output_folder
from beam_jobs.export.export_transforms import ExportShards, FinishExport
from beam_jobs.export.layout import Export
from beam_jobs.runtime.dead_letters import read_rejected
from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.progress import describe_work, showing_counts
from beam_jobs.runtime.runners import make_pipeline, run_pipeline
from beam_jobs.storage import files
from command_line.exit_status import DONE, SOME_REJECTED, run_command
from command_line.options import make_parser
from schemas.dataset import COMPLETED, REJECTED
from schemas.errors import UserError

_NAME = "export_audio"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this job."""
    parser = make_parser(
        "beam_jobs.export_audio",
        "export-audio",
        description="Exports a dataset as audio files, for other people's tools.",
        epilog="Any other option is Beam's. Exit status: 0 done, 3 done but some shards are"
        " damaged, 1 failed.",
    )
    parser.add_argument("--dataset", required=True, metavar="FOLDER", help="what to export")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="local or gs://")
    parser.add_argument(
        "--layout",
        required=True,
        choices=[layout.name for layout in LAYOUTS],
        help="spleeter: what stock 'spleeter train' reads; librimix: what asteroid and SpeechBrain"
        " read; webdataset: tars that webdataset and Hugging Face datasets read; lhotse: manifests"
        " that Lhotse reads; nemo: manifests that NeMo reads; folders: a folder for each mixture",
    )
    parser.add_argument(
        "--audio_format",
        choices=("wav", "flac"),
        help="of the files, 16 bits in any case (default: flac for webdataset and lhotse, else"
        " wav)",
    )
    return parser


def export_audio(pipeline: beam.Pipeline, export: Export) -> None:
    """Builds the pipeline: from a dataset to audio files, and to the tables that list them."""
    (
        pipeline
        | "ExportShards" >> ExportShards(export)
        | "FinishExport" >> FinishExport(export)
    )  # fmt: skip


def run(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit status.

    Raises:
        UserError: not a dataset, or a command line that can't be followed.
        OSError: the dataset can't be read, or the output can't be written.
    """
    arguments, beam_options = parse_options(build_parser(), argv)
    dataset_folder = files.absolute(arguments.dataset)
    layout = find_layout(arguments.layout)
    export = Export(
        dataset_folder=dataset_folder,
        described=open_dataset(dataset_folder),
        has_noise=has_feature(dataset_folder, "noise"),
        has_degraded=has_feature(dataset_folder, "degraded"),
        enrolment_samples=enrolment_samples(dataset_folder),
        output=files.absolute(arguments.output),
        layout_name=layout.name,
        audio_format=arguments.audio_format or layout.audio_format,
    )
    layout.check(export.described)
    output_folder.claim(export)
    if not output_folder.is_complete(export):
        output_folder.remove_leftovers(export)
        pipeline = make_pipeline(beam_options, _NAME)
        export_audio(pipeline, export)
        describe = functools.partial(
            describe_work, total=export.described.num_mixtures, unit="mixtures"
        )
        with showing_counts(export.counts_folder, describe):
            if not run_pipeline(pipeline, beam_options):
                return DONE
    return _print_result(export)


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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the last line it prints says how it ended."""
    return run_command(argv, run, name=_NAME)


if __name__ == "__main__":
    sys.exit(main())

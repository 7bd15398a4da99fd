"""Separates an archive of recordings; run again, it separates what is new in the archive.

python -m beam_jobs.separate_archive --input FOLDER --output FOLDER [--model MODEL] [options]
"""

import argparse
import contextlib
import functools
import json
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.runtime.dead_letters import ReasonCounts, read_rejected
from beam_jobs.runtime.extras import require_installed
from beam_jobs.runtime.job_folder import check_writable
from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.progress import showing_counts
from beam_jobs.runtime.runners import is_local, make_pipeline, run_pipeline
from beam_jobs.separation.archive_transforms import SeparateArchive
from beam_jobs.separation.inputs import InputFile, list_archive
from beam_jobs.separation.ledger import check_ours, record_path
from beam_jobs.separation.models import DEFAULT_MODEL, Model, describe_model
from beam_jobs.separation.output_names import FIELDS, reject_collisions
from beam_jobs.separation.segments import write_segments
from beam_jobs.separation.summary import (
    Counts,
    describe,
    describe_separation,
    parse_counts,
    summarise,
)
from beam_jobs.storage import files
from command_line.exit_status import DONE, SOME_REJECTED, run_command
from command_line.options import UsageError, make_parser
from schemas.ledger import CUTS, REJECTED, REPORT, RUNS, SEGMENTS, SUMMARY, Parameters

_NAME = "separate_archive"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of this job's own options."""
    parser = make_parser(
        "beam_jobs.separate_archive",
        "separate-archive",
        description="Separates an archive of recordings, and every next time what is new in it.",
        epilog="Any other option is Beam's, such as --runner=FlinkRunner. Without one the job runs"
        " here, on all cores. Exit status: 0 done, 3 done but some files were rejected, 1 failed.",
    )
    parser.add_argument(
        "--input",
        required=True,
        action="extend",
        nargs="+",
        help="a folder, for all audio in it and below it; a glob pattern; a manifest (.txt): a path"
        " in each line; or a file; several of them, if you like",
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="a bundle's folder; spleeter:2stems, :4stems or :5stems with the checkpoint where "
        "Spleeter has it; a Spleeter configuration (.json) (default: the one that comes with the "
        "program)",
    )
    parser.add_argument(
        "--output", required=True, help="folder, local or gs://: a new one, or that of earlier runs"
    )
    parser.add_argument(
        "--channels",
        choices=("mix", "each", "keep"),
        default=Parameters().channels,
        help="mix: all channels at once, mixed down where the model takes fewer; each: one by one;"
        " keep: as mix, and the outputs have the channels of the recording",
    )
    parser.add_argument(
        "--audio_format", choices=("wav", "flac", "opus"), default=Parameters().audio_format
    )
    parser.add_argument(
        "--output_sample_rate",
        choices=("input", "model"),
        default=Parameters().sample_rate,
        help="whose sample rate the outputs have",
    )
    parser.add_argument(
        "--name_template",
        default=Parameters().name_template,
        help="of the outputs' paths in the output folder, of "
        + ", ".join(f"{{{field}}}" for field in FIELDS)
        + " (default: %(default)s)",
    )
    parser.add_argument(
        "--rttm", action="store_true", help="write who speaks when, too, as RTTM: FILE.wav.rttm"
    )
    parser.add_argument(
        "--segments",
        action="store_true",
        help="write a line for each turn of each speaker, too, as speech recognisers take it:"
        " segments.jsonl for NeMo and cuts.jsonl for Lhotse, of the whole ledger; with --rttm,"
        " which it takes the turns from",
    )
    parser.add_argument(
        "--max_segment_s",
        type=float,
        default=30.0,
        metavar="S",
        help="the greatest length of a segment, in seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--gate",
        action="store_true",
        help="silence each output where its speaker does not speak",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="write a page to see and to hear a few of the separated recordings: report.html",
    )
    parser.add_argument("--force", action="store_true", help="separate what the ledger has, too")
    parser.add_argument(
        "--model_threads", type=int, default=0, help="threads that compute (default: all cores)"
    )
    parser.add_argument(
        "--price_per_hour", type=float, default=0.0, help="of a worker, for the cost estimate"
    )
    return parser


def separate_archive(
    pipeline: beam.Pipeline, inputs: Sequence[InputFile], separate: SeparateArchive, counts: str
) -> None:
    """Builds the pipeline: from files to their outputs, and the run's counts in a file."""
    (
        pipeline
        | "Inputs" >> beam.Create(inputs)
        | "Separate" >> separate
        | "WriteCounts" >> beam.Map(lambda total: files.write_text(counts, total.to_json()))
    )


def run(argv: Sequence[str]) -> int:
    """Runs the job and returns its exit status.

    Args:
        argv: the command line.

    Raises:
        UserError: it can't be done as asked; the message says what to change.
        OSError: the inputs or the model can't be read.
    """
    start_s = time.monotonic()
    arguments, beam_options = parse_options(build_parser(), argv)
    output = files.absolute(arguments.output)
    model = describe_model(arguments.model)
    parameters = _read_parameters(arguments, model)
    if is_local(beam_options):
        require_installed("tensorflow", *(["spleeter"] if model.spleeter else []))
    check_ours(output)
    archive = list_archive([files.absolute(one) for one in arguments.input], output)
    inputs, nameless = reject_collisions(
        archive.inputs,
        model.source_names,
        parameters,
        is_known=lambda one: files.exists(record_path(output, one.relative_path)),
    )
    check_writable(output, remedy="name another --output, or make room there")
    print(
        f"{len(inputs)} files; {model.name} separates at {model.sample_rate} Hz, and what"
        f" has another rate is resampled\n{archive.describe()}",
        end="",
        flush=True,
    )
    counts_folder = files.join(output, RUNS, uuid.uuid4().hex)
    counts_path = f"{counts_folder}.json"
    # From now on, the folder is known as this job's, even if it is killed before it counts.
    files.write_output(counts_path, Counts().to_json())
    pipeline = make_pipeline(beam_options, _NAME)
    separate = SeparateArchive(
        model=model,
        parameters=parameters,
        output=output,
        counts_folder=counts_folder,
        rejected=[*archive.rejected, *nameless],
        force=arguments.force,
        num_threads=arguments.model_threads,
    )
    separate_archive(pipeline, inputs, separate, counts_path)
    describe_progress = functools.partial(describe_separation, num_files=len(inputs))
    with showing_counts(counts_folder, describe_progress):
        if not run_pipeline(pipeline, beam_options):
            return DONE
    counts = parse_counts(files.read_text(counts_path))
    summary = summarise(
        counts,
        num_no_audio=archive.num_no_audio,
        num_other_names=archive.num_other_names,
        elapsed_s=time.monotonic() - start_s,
        price_per_hour=arguments.price_per_hour,
    )
    files.write_text(files.join(output, SUMMARY), json.dumps(summary, indent=1) + "\n")
    print(describe(summary))
    if arguments.segments:
        _write_segments(model, output, arguments.max_segment_s)
    if arguments.report:
        _write_report(summary, counts, model, output)
    if summary["rejected"]:
        rejected = read_rejected(files.join(output, REJECTED))
        print(f"rejected: {ReasonCounts(rejected).describe()}")
        print(f"the rejected files and why: {files.join(output, REJECTED)}")
        return SOME_REJECTED
    return DONE


def _read_parameters(arguments: argparse.Namespace, model: Model) -> Parameters:
    """Returns the parameters that the options ask for, if they go together."""
    if arguments.segments and arguments.channels == "each":
        raise UsageError(
            "--segments takes one voice in each file, and --channels=each puts one on each channel:"
            " leave one of them out"
        )
    if not arguments.max_segment_s >= 1:
        raise UsageError("--max_segment_s is at least 1")
    if arguments.gate and model.aligned:
        raise UsageError(
            f"--gate is for models of speakers whose outputs may swap, and those of {model.name}"
            " never do: leave it out"
        )
    return Parameters(
        channels=arguments.channels,
        audio_format=arguments.audio_format,
        sample_rate=arguments.output_sample_rate,
        name_template=arguments.name_template,
        rttm=arguments.rttm or arguments.segments,
        gate=arguments.gate,
    )


def _write_segments(model: Model, output: str, max_segment_s: float) -> None:
    num_left_out = write_segments(output, model.source_names, max_segment_s)
    left_out = f" ({num_left_out} of the ledger's recordings have none)" if num_left_out else ""
    paths = f"{files.join(output, SEGMENTS)}, and for Lhotse {CUTS} beside it"
    print(f"to transcribe: {paths}{left_out}")


def _write_report(summary: Mapping[str, Any], counts: Counts, model: Model, output: str) -> None:
    # Matplotlib takes half a second to import.
    from beam_jobs.separation.page import read_excerpt, render_report  # noqa: PLC0415

    path = files.join(output, REPORT)
    names = model.source_names
    excerpts = []
    for relative_path in counts.examples:
        # A recording that is gone by now is only missing in the report.
        with contextlib.suppress(OSError, UnusableAudioError):
            excerpts.append(read_excerpt(output, relative_path, names))
    if not excerpts and files.exists(path):
        print(f"nothing new to see and to hear; the page of an earlier run is still there: {path}")
        return
    page = render_report(
        summary,
        excerpts,
        read_rejected(files.join(output, REJECTED)),
        doubtful=counts.doubtful,
        model=model.name,
        source_names=names,
    )
    files.write_text(path, page)
    print(f"to see and to hear: {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the last line printed says how it ended."""
    return run_command(argv, run, name=_NAME)


if __name__ == "__main__":
    sys.exit(main())

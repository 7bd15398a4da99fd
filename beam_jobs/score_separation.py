"""Scores a separated archive against references or a mixture dataset.

python -m beam_jobs.score_separation --separated FOLDER --output FOLDER
    (--dataset FOLDER [--rttm] | [--references FILES] [--reference_rttm FILES]) [any Beam option]
"""

import argparse
import functools
import os
import sys
from collections.abc import Sequence

import apache_beam as beam

from beam_jobs.dataset.reading import open_dataset
from beam_jobs.runtime.dead_letters import Rejected, read_rejected
from beam_jobs.runtime.job_folder import PROGRESS, check_ours, check_writable
from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.progress import describe_work, showing_counts
from beam_jobs.runtime.runners import make_pipeline, run_pipeline
from beam_jobs.separation.archive_scores import RTTM_FILES, SPEECH_OF_SOURCES
from beam_jobs.separation.ledger import list_recordings
from beam_jobs.separation.output_names import fill_template
from beam_jobs.separation.references import RTTM_SUFFIX, References
from beam_jobs.separation.rejected_transforms import WriteRejected
from beam_jobs.separation.score_transforms import (
    ReadLedger,
    ScoreAgainstDataset,
    ScoreAgainstFiles,
    Scoring,
    WriteReports,
)
from beam_jobs.storage import files
from command_line.exit_status import DONE, SOME_REJECTED, run_command
from command_line.options import UsageError, make_parser
from schemas.ledger import REJECTED
from scoring.diarisation import require_pyannote
from scoring.report_files import AUDIO, DOCUMENT, PAGE, TEXT

_NAME = "score_separation"

# What is in the folder of a report.
_OWN_NAMES = (AUDIO, DOCUMENT, PAGE, PROGRESS, REJECTED, TEXT)


def run(argv: Sequence[str]) -> int:
    """Runs the job and returns its exit status.

    Args:
        argv: the command line.

    Raises:
        UserError: it can't be done as asked; the message says what to change.
        OSError: the archive or the dataset can't be read.
    """
    arguments, beam_options = parse_options(build_parser(), argv)
    archive, output = files.absolute(arguments.separated), files.absolute(arguments.output)
    scoring = _choose_scoring(arguments, output)
    relative_paths = list_recordings(archive)
    if not relative_paths:
        raise UsageError(f"{archive}: no ledger in it: give separate_archive's --output")
    check_ours(output, own_names=_OWN_NAMES)
    check_writable(output, remedy="name another --output, or make room there")
    for name in (TEXT, PAGE):
        # The report of an earlier run must not pass for this one's.
        files.remove(output, name)
    pipeline = make_pipeline(beam_options, _NAME)
    recordings, unreadable = pipeline | "ReadLedger" >> ReadLedger(
        archive, relative_paths, counts_folder=files.join(output, PROGRESS)
    )
    scores, unscored = recordings | "Score" >> scoring
    reference = RTTM_FILES if arguments.dataset is None else SPEECH_OF_SOURCES
    _ = scores | "WriteReports" >> WriteReports(output, diarisation_reference=reference)
    not_separated = pipeline | "NotSeparated" >> beam.Create(_list_not_separated(archive))
    _ = (
        (not_separated, unreadable, unscored)
        | "AllRejected" >> beam.Flatten()
        | "WriteRejected" >> WriteRejected(output)
    )
    describe = functools.partial(describe_work, total=len(relative_paths), unit="recordings")
    with showing_counts(files.join(output, PROGRESS), describe):
        if not run_pipeline(pipeline, beam_options):
            return DONE
    rejected = read_rejected(files.join(output, REJECTED))
    report = files.join(output, TEXT)
    if not files.exists(report):
        raise UsageError(f"nothing could be scored: {rejected[0].path}: {rejected[0].reason}")
    print(files.read_text(report))
    print(f"the report: {files.join(output, PAGE)}")
    if rejected:
        print(f"{len(rejected)} rejected, and why: {files.join(output, REJECTED)}")
        return SOME_REJECTED
    return DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the last line printed says how it ended."""
    return run_command(argv, run, name=_NAME, resumes=False)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of this job's own options."""
    parser = make_parser(
        "beam_jobs.score_separation",
        "score-separation",
        description="Scores a separated archive against references or a mixture dataset.",
        epilog="Any other option is Beam's, such as --runner=FlinkRunner. Exit status: 0 done, 3"
        " done but some recordings were rejected, 1 failed.",
    )
    parser.add_argument(
        "--separated", required=True, help="what separate_archive was given as --output"
    )
    parser.add_argument("--output", required=True, help="the folder of the report")
    parser.add_argument(
        "--dataset",
        help="a mixture dataset: each recording is compared with the mixture that has its name",
    )
    parser.add_argument(
        "--rttm",
        action="store_true",
        help="score who speaks when, too, against the speech in each of the dataset's sources",
    )
    parser.add_argument(
        "--references",
        default="",
        help="audio: a folder with a file by the name of each output, or a template of paths with"
        " {folder}, {stem}, {suffix} and {number}, of the source, from 1",
    )
    parser.add_argument(
        "--reference_rttm",
        default="",
        help="who speaks when: a folder with FILE.wav.rttm for each FILE.wav, a template of paths"
        " with {folder}, {stem} and {suffix}, or one file (.rttm) of all recordings",
    )
    return parser


def _choose_scoring(arguments: argparse.Namespace, output: str) -> Scoring:
    counts_folder = files.join(output, PROGRESS)
    references = References(
        arguments.references and files.absolute(arguments.references),
        arguments.reference_rttm and files.absolute(arguments.reference_rttm),
    )
    if (references == References()) == (arguments.dataset is None):
        raise UsageError("say --dataset, or --references or --reference_rttm or both")
    if arguments.rttm or references.rttm:
        require_pyannote()
    if arguments.dataset is not None:
        folder = files.absolute(arguments.dataset)
        return ScoreAgainstDataset(
            folder,
            open_dataset(folder),
            rttm=arguments.rttm,
            output=output,
            counts_folder=counts_folder,
        )
    if arguments.rttm:
        raise UsageError("--rttm is for --dataset: say --reference_rttm")
    _check_files(references)
    _check_templates(references)
    return ScoreAgainstFiles(references, output=output, counts_folder=counts_folder)


def _check_files(references: References) -> None:
    """Fails on a file where a folder should be here rather than in a worker."""
    if os.path.isfile(references.audio):
        raise UsageError(f"--references={references.audio}: a file: name the folder it is in")
    if os.path.isfile(references.rttm) and not references.rttm.endswith(RTTM_SUFFIX):
        raise UsageError(
            f"--reference_rttm={references.rttm}: a file with the turns of all recordings has a"
            f" name in {RTTM_SUFFIX}: rename it"
        )


def _check_templates(references: References) -> None:
    """Fails on a mistyped template here rather than in a worker."""
    fill_template(references.rttm, "a/b.wav")
    if "{" in references.audio:
        first, second = (
            fill_template(references.audio, "a/b.wav", number=number) for number in "12"
        )
        if first == second:
            raise UsageError(f"--references={references.audio} lacks {{number}}, of the source")


def _list_not_separated(archive: str) -> list[Rejected]:
    """Returns the recordings that the archive job rejected, as rejected by this one too."""
    return [
        Rejected(one.path, f"not separated: {one.reason}")
        for one in read_rejected(files.join(archive, REJECTED))
    ]


if __name__ == "__main__":
    sys.exit(main())

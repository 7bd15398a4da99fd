"""Builds a dataset of speaker mixtures from raw speech.

python -m beam_jobs.build_mixtures --corpus CORPUS --output FOLDER [options] [any Beam option]
"""

import argparse
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.corpora import LAYOUTS
from beam_jobs.dataset import folder as dataset_folder
from beam_jobs.dataset.dry_run import describe_plan, dry_copy
from beam_jobs.dataset.finish_transforms import FinishDataset
from beam_jobs.dataset.kept_catalogue import check_kept_folder, describe_taken
from beam_jobs.dataset.mixture_options import (
    channels_option,
    length_option,
    sample_rate_option,
    specify_dataset,
)
from beam_jobs.dataset.outcome import check_stopped, describe_result, explain
from beam_jobs.dataset.plan_transforms import MakeCatalogue, PlanShards
from beam_jobs.dataset.progress import show_progress
from beam_jobs.dataset.shard_transforms import RenderShards, WriteRecipes
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.plan import NothingToDoError
from beam_jobs.recipes.presets import preset_names
from beam_jobs.runtime.forked_workers import can_fork
from beam_jobs.runtime.options import parse_options, positive_number
from beam_jobs.runtime.runners import is_local, make_pipeline, run_pipeline
from beam_jobs.storage import files
from command_line.exit_status import DONE, SOME_REJECTED, run_command
from command_line.options import make_parser

_NAME = "build_mixtures"
_DEFAULT_SPLITS = "train=0.8,validation=0.1,test=0.1"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this job."""
    parser = make_parser(
        "beam_jobs.build_mixtures",
        "build-mixtures",
        description="Builds a dataset of speaker mixtures that TensorFlow Datasets reads.",
        epilog="Any other option is Beam's, such as --runner=FlinkRunner. Without one the job runs"
        " here, on all cores. Exit status: 0 done, 3 done but some files were rejected, 1 failed.",
    )
    parser.add_argument(
        "--corpus",
        action="append",
        required=True,
        metavar="FOLDER|MANIFEST|PATTERN",
        help="clean speech: a folder, a manifest, or a glob pattern in quotes (** is any number of"
        " folders); may be given several times",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FOLDER",
        help="the folder of the dataset, for tfds.builder_from_directory; .../NAME/1.0.0 gives it"
        " a name and a version",
    )
    parser.add_argument(
        "--corpus_format",
        default="",
        choices=[layout.NAME for layout in LAYOUTS],
        help="the layout of the corpora (default: recognised)",
    )
    parser.add_argument(
        "--speaker_regex",
        default="",
        metavar="REGEX",
        help="finds the speaker, as its only group, in a path relative to the folder, or to a"
        " pattern's fixed part, such as '([^/]+)/[^/]*$' for the name of the folder",
    )
    parser.add_argument(
        "--recipe",
        default="overlay",
        metavar="NAME|FILE",
        help=f"what mixtures are drawn from: {', '.join(preset_names())}, or a JSON file like"
        " theirs (default: overlay)",
    )
    parser.add_argument(
        "--recipes",
        action="append",
        default=[],
        metavar="FILE|PATTERN",
        help="renders given recipes instead of drawing them: recipes/*.jsonl of a dataset, or the"
        " CSVs of LibriMix or of Spleeter; may be given several times",
    )
    parser.add_argument(
        "--noise",
        default="",
        metavar="FOLDER",
        help="a folder of noise, where the recipe has a level for it, or given ones name it;"
        " LibriMix's are clean without",
    )
    parser.add_argument(
        "--rooms",
        default="",
        metavar="FOLDER",
        help="a folder of recorded room responses, where the recipe has recorded rooms, or given"
        " ones name them",
    )
    parser.add_argument(
        "--skip_missing_recipes",
        action="store_true",
        help="go without the given recipes that name what the corpus lacks",
    )
    parser.add_argument(
        "--num_mixtures",
        type=positive_number,
        default=0,
        metavar="N",
        help="mixtures in all splits together; utterances repeat where there are too few"
        " (default: as many as use each utterance once)",
    )
    parser.add_argument(
        "--num_shards",
        type=positive_number,
        default=0,
        metavar="S",
        help="shards of each split (default: one for 128 mixtures, at least 8)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="K",
        help="the same seed gives the same bytes (default: 0)",
    )
    parser.add_argument(
        "--sample_rate",
        type=sample_rate_option,
        metavar="HZ",
        help="of the mixtures, in Hz (default: the recipe's, 16000 in those that ship)",
    )
    parser.add_argument(
        "--channels",
        type=channels_option,
        metavar="average|stereo|N",
        help="average mixes the channels of each file down, a number picks one, from 0, stereo"
        " keeps two and plays mono files in both (default: the recipe's)",
    )
    parser.add_argument(
        "--length",
        type=length_option,
        metavar="min|max|SECONDS",
        help="min ends with the source that ends first, max keeps everything, a number of seconds"
        " crops or pads to it (default: the recipe's)",
    )
    parser.add_argument(
        "--splits",
        default=_DEFAULT_SPLITS,
        metavar="SHARES|corpus",
        help="shares of the speakers, or 'corpus' for the corpus's own splits (default:"
        f" {_DEFAULT_SPLITS})",
    )
    parser.add_argument(
        "--gzip",
        action="store_true",
        help="compress the shards; TensorFlow Datasets does not read them then, training does",
    )
    parser.add_argument(
        "--recipes_only",
        action="store_true",
        help="write the recipes of all mixtures, and no audio",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="read headers, plan, render a few mixtures, say what would come of it, and write none",
    )
    parser.add_argument(
        "--catalogue",
        default="",
        metavar="FOLDER",
        help="keeps the catalogue of the corpora there for other jobs, which then start at once;"
        " remove the folder when the corpora change (default: each dataset makes its own)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="remove the dataset that is in the output folder first",
    )
    return parser


def build_mixtures(
    pipeline: beam.Pipeline,
    spec: DatasetSpec,
    kept_folder: str,
    *,
    recipes_only: bool,
    command: Sequence[str],
) -> None:
    """Builds the pipeline: from corpora to a dataset, or to the recipes of one."""
    shards = (
        pipeline
        | "MakeCatalogue" >> MakeCatalogue(spec, kept_folder=kept_folder)
        | "PlanShards" >> PlanShards(spec)
    )
    if recipes_only:
        shards | "WriteRecipes" >> WriteRecipes(spec)
    else:
        (
            shards
            | "RenderShards" >> RenderShards(spec)
            | "FinishDataset" >> FinishDataset(spec, command=command)
        )


def run(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit status.

    Raises:
        UserError: the command line can't be followed, or nothing can be made of the corpus.
        OSError: a file can't be read, or the output can't be written.
    """
    parser = build_parser()
    arguments, beam_options = parse_options(
        parser, argv, needs_processes=lambda asked: can_fork() or _takes_long(asked)
    )
    spec, job = specify_dataset(arguments, parser)
    kept_folder = files.absolute(arguments.catalogue) if arguments.catalogue else ""
    dataset_folder.check_ours(spec.folder)
    if kept_folder:
        check_kept_folder(kept_folder)
    if arguments.dry_run:
        return _run_dry(spec, kept_folder, beam_options)
    if arguments.overwrite:
        dataset_folder.check_writable(spec.folder)
        dataset_folder.remove_dataset(spec.folder)
    dataset_folder.claim(spec.folder, job)
    if dataset_folder.is_complete(spec.folder):
        # A job that was killed just after it completed the dataset leaves some behind.
        dataset_folder.remove_leftovers(spec.folder)
    else:
        dataset_folder.remove_notes(spec.folder)
        pipeline = make_pipeline(beam_options, _NAME)
        build_mixtures(
            pipeline, spec, kept_folder, recipes_only=arguments.recipes_only, command=argv
        )
        with show_progress(spec, renders=not arguments.recipes_only):
            if not run_pipeline(pipeline, beam_options):
                return DONE
    try:
        lines, all_usable = describe_result(spec, kept_folder, recipes_only=arguments.recipes_only)
    except NothingToDoError as error:
        explained = explain(error, spec)
        for folder in filter(None, (spec.folder, kept_folder)):
            dataset_folder.forget_corpus(folder)
        raise explained from None
    print(*lines, sep="\n")
    return DONE if all_usable else SOME_REJECTED


def _takes_long(arguments: argparse.Namespace) -> bool:
    """Returns whether two processes save more time than they take to start where none can fork."""
    return not arguments.num_mixtures or bool(arguments.num_mixtures >= 1000)


def _run_dry(spec: DatasetSpec, kept_folder: str, beam_options: PipelineOptions) -> int:
    with dry_copy(spec, is_local=is_local(beam_options)) as dry:
        pipeline = make_pipeline(beam_options, _NAME)
        pipeline | "MakeCatalogue" >> MakeCatalogue(dry, kept_folder=kept_folder)
        with show_progress(dry, renders=False):
            pipeline.run().wait_until_finish()
        check_stopped(dry)
        try:
            description, all_usable = describe_plan(dry)
            taken = describe_taken(dry, kept_folder)
        except NothingToDoError as error:
            raise explain(error, dry) from None
    print(*filter(None, (description, taken, "dry run: nothing was written")), sep="\n")
    return DONE if all_usable else SOME_REJECTED


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the last line it prints says how it ended."""
    return run_command(argv, run, name=_NAME)


if __name__ == "__main__":
    sys.exit(main())

"""Builds a dataset of speaker mixtures from raw speech.

python -m beam_jobs.build_mixtures --corpus CORPUS --output FOLDER [options] [any Beam option]
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.corpora import LAYOUTS, choose_layout
from beam_jobs.corpora.layout import SOUNDS, Corpus, check_names, parse_corpora
from beam_jobs.corpora.sounds import parse_sounds
from beam_jobs.dataset import folder as dataset_folder
from beam_jobs.dataset.dry_run import describe_plan
from beam_jobs.dataset.finish_transforms import FinishDataset
from beam_jobs.dataset.mixture_options import describe_job, find_recipes
from beam_jobs.dataset.plan_transforms import MakeCatalogue, PlanShards
from beam_jobs.dataset.progress import show_progress
from beam_jobs.dataset.shard_transforms import RenderShards, WriteRecipes
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.plan import NothingToDoError, PlanOptions
from beam_jobs.recipes.presets import preset_names
from beam_jobs.recipes.splits import parse_shares
from beam_jobs.runtime.dead_letters import read_rejected
from beam_jobs.runtime.exit_status import DONE, SOME_REJECTED, run_command
from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.runners import make_pipeline, run_pipeline
from beam_jobs.storage import files
from schemas import dataset

_DEFAULT_SPLITS = "train=0.8,validation=0.1,test=0.1"


def build_parser() -> argparse.ArgumentParser:
    """The options of this job."""
    parser = argparse.ArgumentParser(
        prog="python -m beam_jobs.build_mixtures",
        description="Builds a dataset of speaker mixtures that TensorFlow Datasets reads.",
        epilog="Any other option is Beam's, such as --runner=FlinkRunner. Without one the job runs"
        " here, on all cores. Exit status: 0 done, 3 done but some files were rejected, 1 failed.",
        allow_abbrev=False,
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
        help="for a glob pattern: finds the speaker, as its only group, in a path relative to the"
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
        type=_positive,
        default=0,
        metavar="N",
        help="mixtures in all splits together; utterances repeat where there are too few"
        " (default: as many as use each utterance once)",
    )
    parser.add_argument(
        "--num_shards",
        type=_positive,
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
        type=_positive,
        metavar="HZ",
        help="of the mixtures, in Hz (default: the recipe's, 16000 in those that ship)",
    )
    parser.add_argument(
        "--channels",
        type=_channels,
        metavar="average|stereo|N",
        help="average mixes the channels of each file down, a number picks one, from 0, stereo"
        " keeps two and plays mono files in both (default: the recipe's)",
    )
    parser.add_argument(
        "--length",
        type=_length,
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


def run(argv: Sequence[str]) -> int:
    """Follows a command line and returns the exit status.

    Raises:
        UserError: it can't be followed; the message says what to change.
        OSError: the output folder can't be written.
        NothingToDoError: nothing can be made of the corpus.
    """
    parser = build_parser()
    arguments, beam_options = parse_options(
        parser, argv, needs_processes=lambda own: bool(own.recipes_only)
    )
    corpora = parse_corpora(arguments.corpus, arguments.corpus_format, arguments.speaker_regex)
    for corpus in corpora:
        if corpus.manifest:
            # Fail on a mistyped manifest here rather than in a worker.
            choose_layout(corpus)
    folder = files.absolute(arguments.output)
    kept_folder = files.absolute(arguments.catalogue) if arguments.catalogue else ""
    sounds = {
        option: parse_sounds(option, getattr(arguments, option))
        for option in SOUNDS
        if getattr(arguments, option)
    }
    given = find_recipes(arguments, parser, corpora, sounds)
    corpora += tuple(sounds.values())
    check_names(corpora)
    job = describe_job(arguments, corpora, given)
    name, version = dataset.dataset_name(folder)
    spec = DatasetSpec(
        folder=folder,
        dataset_name=name,
        compression=job.compression,
        corpus_roots={corpus.name: corpus.root for corpus in corpora},
        plan_options=PlanOptions(
            config=job.config,
            seed=job.seed,
            shares={} if job.splits == "corpus" else parse_shares(job.splits),
            num_mixtures=job.num_mixtures,
            num_shards=job.num_shards,
            sounds={option: corpus.name for option, corpus in sounds.items()},
        ),
        given=given,
    )
    if arguments.dry_run:
        return _run_dry(spec, corpora, kept_folder, beam_options)
    if arguments.overwrite:
        dataset_folder.remove_dataset(folder)
    dataset_folder.claim(folder, job)
    if dataset_folder.is_complete(folder):
        # The job that completed it may have been killed before it could.
        dataset_folder.remove_leftovers(folder)
    else:
        pipeline = make_pipeline(beam_options)
        shards = (
            pipeline
            | "MakeCatalogue" >> MakeCatalogue(corpora, spec, kept_folder=kept_folder)
            | "PlanShards" >> PlanShards(spec)
        )
        if arguments.recipes_only:
            shards | "WriteRecipes" >> WriteRecipes(spec)
        else:
            (
                shards
                | "RenderShards" >> RenderShards(spec)
                | "FinishDataset" >> FinishDataset(spec, version=version, command=argv)
            )
        # Progress is of audio, which recipes alone have none of.
        with contextlib.nullcontext() if arguments.recipes_only else show_progress(spec):
            has_run = run_pipeline(pipeline, beam_options)
        if not has_run:
            return DONE
    try:
        return _print_result(spec, recipes_only=arguments.recipes_only)
    except NothingToDoError:
        dataset_folder.forget_corpus(folder)
        if kept_folder:
            dataset_folder.forget_corpus(kept_folder)
        raise


def _run_dry(
    spec: DatasetSpec,
    corpora: Sequence[Corpus],
    kept_folder: str,
    beam_options: PipelineOptions,
) -> int:
    # Where the workers can write, wherever they are.
    dry = dataclasses.replace(spec, folder=f"{spec.folder}.dry_run")
    try:
        pipeline = make_pipeline(beam_options)
        pipeline | "MakeCatalogue" >> MakeCatalogue(corpora, dry, kept_folder=kept_folder)
        pipeline.run().wait_until_finish()
        description, all_usable = describe_plan(dry)
    finally:
        dataset_folder.remove_dataset(dry.folder)
        with contextlib.suppress(OSError):
            os.rmdir(dry.folder)
    print(f"{description}\ndry run: nothing was written")
    return DONE if all_usable else SOME_REJECTED


def _print_result(spec: DatasetSpec, *, recipes_only: bool) -> int:
    rejected = read_rejected(files.join(spec.folder, dataset.REJECTED))
    plan = spec.open_plan()
    if not (recipes_only or dataset_folder.is_complete(spec.folder)):
        raise NothingToDoError(
            "not one mixture could be made of the files that can be decoded: see rejected.jsonl for"
            " what to mend in the corpus"
        )
    if spec.given:
        print(spec.plan_options.config.description)
    for split, num_speakers in plan.left_out().items():
        if num_speakers < spec.plan_options.config.num_speakers:
            print(f"left out: {split}, whose {num_speakers} speakers are too few for a mixture")
        else:
            print(f"left out: {split}, for which too few mixtures were asked for")
    if recipes_only:
        done = f"{sum(plan.counts.values())} recipes in {files.join(spec.folder, 'recipes')}"
    else:
        quality = json.loads(files.read_text(files.join(spec.folder, dataset.QUALITY)))
        done = (
            f"{quality['num_mixtures']} mixtures, {quality['mixture_hours']:.2f} h,"
            f" {quality['num_shards']} shards in {spec.folder};"
            f" look at {files.join(spec.folder, dataset.REPORT)}"
        )
        if missing := quality["checks"]["missing_mixtures"]:
            done += f"; {missing} mixtures are missing, too few files could be used for them"
    if rejected:
        path = files.join(spec.folder, dataset.REJECTED)
        print(f"done: {done}; {len(rejected)} files could not be used: see {path}")
        return SOME_REJECTED
    print(f"done: {done}")
    return DONE


def main(argv: Sequence[str]) -> int:
    """Follows a command line; whatever happens, the last line says how it ended."""
    return run_command(argv, run, name="build_mixtures")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _channels(text: str) -> str | int:
    if text in ("average", "stereo"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is neither average, stereo nor a number from 0")
    return int(text)


def _length(text: str) -> str | float:
    if text in ("min", "max"):
        return text
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is neither min, max nor a number of seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

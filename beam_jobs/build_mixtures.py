"""Builds a dataset of speaker mixtures from raw speech.

python -m beam_jobs.build_mixtures --corpus CORPUS --output FOLDER [options] [any Beam option]
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
import soundfile
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PBegin, PCollection

from beam_jobs import dataset_folder, files
from beam_jobs.catalogue import (
    CatalogueUtterances,
    Found,
    find_utterances,
    keep_catalogue,
    take_catalogue,
)
from beam_jobs.corpora import LAYOUTS, choose_layout
from beam_jobs.corpora.layout import SOUNDS, Corpus, check_names, parse_corpora
from beam_jobs.corpora.sounds import parse_sounds
from beam_jobs.dry_run import describe_plan
from beam_jobs.failures import DONE, SOME_REJECTED, follow
from beam_jobs.finishing import FinishDataset, MergeQualities
from beam_jobs.given_recipes import GivenRecipes, find_given_recipes, find_named_files
from beam_jobs.options import choose_runner, parse_options, run_pipeline
from beam_jobs.planning import NothingToDoError, PlanOptions
from beam_jobs.presets import load_recipe_config, preset_names
from beam_jobs.progress import show_progress
from beam_jobs.recipe_files.format import RecipeContext
from beam_jobs.rejected import Rejected, read_rejected
from beam_jobs.rooms import check_simulation
from beam_jobs.shards import Rendering, RenderShards, WriteRecipes
from beam_jobs.splits import parse_shares
from schemas import dataset
from schemas.dataset import Shard
from schemas.mixture_job import MixtureJob
from schemas.recipe_config import RecipeConfig, SimulatedRooms

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


def build_mixtures(
    root: beam.Pipeline,
    corpora: Sequence[Corpus],
    rendering: Rendering,
    *,
    kept_folder: str,
    recipes_only: bool,
    version: str,
    command: Sequence[str],
) -> None:
    """Adds the steps of this job to a pipeline.

    Args:
        root: the pipeline.
        corpora: where the utterances, the noise and the room responses are.
        rendering: what they become.
        kept_folder: where other jobs find the catalogue, or empty.
        recipes_only: whether to write the recipes and leave the audio.
        version: of the dataset.
        command: for the report.
    """
    catalogue = root | "MakeCatalogue" >> MakeCatalogue(corpora, rendering, kept_folder)
    shards = (
        catalogue
        | "PlanShards" >> beam.FlatMap(_plan_shards, rendering)
        | "SpreadShards" >> beam.Reshuffle()
    )
    if recipes_only:
        shards | "WriteRecipes" >> beam.ParDo(WriteRecipes(rendering))
        return
    (
        shards
        | "RenderShards" >> beam.ParDo(RenderShards(rendering))
        | "MergeQualities" >> beam.CombineGlobally(MergeQualities())  # type: ignore[no-untyped-call]
        | "FinishDataset" >> beam.ParDo(FinishDataset(rendering, version=version, command=command))
    )


class MakeCatalogue(beam.PTransform[PBegin, PCollection[str]]):
    """Takes the catalogue that is kept, or makes it, where there is none yet. Output: its path."""

    def __init__(self, corpora: Sequence[Corpus], rendering: Rendering, kept_folder: str) -> None:
        self._corpora = corpora
        self._rendering = rendering
        self._kept_folder = kept_folder

    def expand(self, root: PBegin) -> PCollection[str]:
        """Finds the files, reads their headers, and keeps what was found for other jobs."""
        path = files.join(self._rendering.folder, dataset.CATALOGUE)
        descriptions = [corpus.description for corpus in self._corpora]
        if self._kept_folder and not files.exists(path):
            take_catalogue(self._kept_folder, self._rendering.folder, descriptions)
        catalogue: PCollection[str]
        if files.exists(path):
            catalogue = root | "Catalogue" >> beam.Create([path])
        else:
            given = self._rendering.given
            num_speaking = sum(corpus.layout not in SOUNDS for corpus in self._corpora)
            catalogue = (
                root
                | "FindFiles" >> FindFiles(self._corpora, given)
                | "CatalogueUtterances"
                >> CatalogueUtterances(
                    folder=self._rendering.folder,
                    corpora=descriptions,
                    corpus_roots=self._rendering.corpus_roots,
                    prefix_names=num_speaking > 1 and given is None,
                )
            )
        if self._kept_folder:
            catalogue |= "KeepCatalogue" >> beam.Map(keep_catalogue, self._kept_folder)
        return catalogue


class FindFiles(beam.PTransform[PBegin, PCollection[Found]]):
    """Finds what is in the corpora; where recipes are given, what these name."""

    def __init__(self, corpora: Sequence[Corpus], given: GivenRecipes | None) -> None:
        self._corpora = corpora
        self._given = given

    def expand(self, root: PBegin) -> PCollection[Found]:
        """Looks into folders and manifests, or into the files of the recipes."""
        found: PCollection[Found]
        if self._given is None:
            found = (
                root
                | "Corpora" >> beam.Create(self._corpora)
                | "FindUtterances" >> beam.FlatMap(find_utterances)
            )
        else:
            found = (
                root
                | "RecipeFiles" >> beam.Create(self._given.files)
                | "FindNamedFiles" >> beam.FlatMap(find_named_files, self._given)
                | "KeyByFile" >> beam.WithKeys(_file_key)
                | "GroupByFile" >> beam.GroupByKey()
                | "TakeOnce" >> beam.MapTuple(lambda _, found: min(found, key=str))
            )
        return found


def _file_key(found: Found) -> str:
    corpus, candidate = found
    if isinstance(candidate, Rejected):
        return candidate.path
    return json.dumps([corpus.name, candidate.path, candidate.utterance])


def _plan_shards(_catalogue_path: str, rendering: Rendering) -> Iterator[Shard]:
    # Without anything to do the job ends at once, and whoever started it says why in one line; an
    # error in here would be told by the runner, with all that it knows of itself.
    with contextlib.suppress(NothingToDoError):
        yield from rendering.open_plan().shards


def run(argv: Sequence[str]) -> int:
    """Follows a command line and returns the exit status.

    Raises:
        ValueError: it can't be followed; the message says what to change.
        OSError: the output folder can't be written.
        NothingToDoError: nothing can be made of the corpus.
    """
    arguments, beam_options = parse_options(
        build_parser(), argv, needs_processes=lambda own: bool(own.recipes_only)
    )
    corpora = parse_corpora(arguments.corpus, arguments.corpus_format, arguments.speaker_regex)
    for corpus in corpora:
        if corpus.manifest:
            # A file that is no manifest is a slip of the pen: better said before anything runs.
            choose_layout(corpus)
    folder = files.absolute(arguments.output)
    kept_folder = files.absolute(arguments.catalogue) if arguments.catalogue else ""
    sounds = {
        option: parse_sounds(option, getattr(arguments, option))
        for option in SOUNDS
        if getattr(arguments, option)
    }
    given = _given_recipes(arguments, corpora, sounds)
    corpora += tuple(sounds.values())
    check_names(corpora)
    job = _job(arguments, corpora, given)
    name, version = dataset.dataset_name(folder)
    rendering = Rendering(
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
        return _run_dry(rendering, corpora, kept_folder, beam_options)
    if arguments.overwrite:
        dataset_folder.remove_dataset(folder)
    dataset_folder.claim(folder, job)
    if dataset_folder.is_complete(folder):
        # The job that completed it may have been killed before it could.
        dataset_folder.remove_leftovers(folder)
    else:
        pipeline = beam.Pipeline(runner=choose_runner(beam_options), options=beam_options)
        build_mixtures(
            pipeline,
            corpora,
            rendering,
            kept_folder=kept_folder,
            recipes_only=arguments.recipes_only,
            version=version,
            command=argv,
        )
        # Progress is of audio, which recipes alone have none of.
        with contextlib.nullcontext() if arguments.recipes_only else show_progress(rendering):
            has_run = run_pipeline(pipeline, beam_options)
        if not has_run:
            return DONE
    try:
        return _say_result(rendering, recipes_only=arguments.recipes_only)
    except NothingToDoError:
        dataset_folder.forget_corpus(folder)
        if kept_folder:
            dataset_folder.forget_corpus(kept_folder)
        raise


def _run_dry(
    rendering: Rendering,
    corpora: Sequence[Corpus],
    kept_folder: str,
    beam_options: PipelineOptions,
) -> int:
    # Where the workers can write, wherever they are.
    dry = dataclasses.replace(rendering, folder=f"{rendering.folder}.dry_run")
    try:
        pipeline = beam.Pipeline(runner=choose_runner(beam_options), options=beam_options)
        pipeline | "MakeCatalogue" >> MakeCatalogue(corpora, dry, kept_folder)
        pipeline.run().wait_until_finish()
        description, all_usable = describe_plan(dry)
    finally:
        dataset_folder.remove_dataset(dry.folder)
        with contextlib.suppress(OSError):
            os.rmdir(dry.folder)
    print(f"{description}\ndry run: nothing was written")
    return DONE if all_usable else SOME_REJECTED


def _given_recipes(
    arguments: argparse.Namespace, corpora: Sequence[Corpus], sounds: Mapping[str, Corpus]
) -> GivenRecipes | None:
    """The recipes of the command line, or None where they are to be drawn.

    Raises:
        ValueError: two options do not go together, or what they name is not there.
    """
    defaults = build_parser()
    if not arguments.recipes:
        if arguments.skip_missing_recipes:
            raise ValueError("--skip_missing_recipes has no effect without --recipes")
        return None
    for name in ("recipe", "channels", "num_mixtures", "seed", "splits", "catalogue"):
        if getattr(arguments, name) != defaults.get_default(name):
            raise ValueError(f"--{name} is for recipes that are drawn, and --recipes gives them")
    context = RecipeContext(
        corpora={corpus.name: corpus for corpus in corpora},
        noise_corpus=sounds.get("noise"),
        rooms_corpus=sounds.get("rooms"),
        sample_rate=arguments.sample_rate or 0,
        length=arguments.length or "",
    )
    return find_given_recipes(
        arguments.recipes, context, skip_missing=arguments.skip_missing_recipes
    )


def _drawn_config(arguments: argparse.Namespace) -> RecipeConfig:
    """What the command line has recipes drawn from.

    Raises:
        ValueError: there is no such configuration, or it does not go with the other options.
    """
    recipe = arguments.recipe
    config = load_recipe_config(
        recipe,
        sample_rate=arguments.sample_rate,
        length=arguments.length,
        channels=arguments.channels,
    )
    if config.noise is not None and not arguments.noise:
        raise ValueError(f"--recipe={recipe} asks for noise: name a folder of it with --noise")
    if arguments.noise and config.noise is None:
        raise ValueError(
            f"--noise does not go with --recipe={recipe}, which gives noise no level: add"
            ' "noise": {"snr_db": 10} to it'
        )
    if config.rooms == "recorded" and not arguments.rooms:
        raise ValueError(
            f"--recipe={recipe} asks for recorded rooms: name a folder of responses with --rooms"
        )
    if arguments.rooms and config.rooms is None:
        raise ValueError(
            f"--rooms does not go with --recipe={recipe}, which has no rooms: add"
            ' "rooms": "recorded" to it'
        )
    if isinstance(config.rooms, SimulatedRooms):
        if arguments.rooms:
            raise ValueError(
                f"--rooms does not go with --recipe={recipe}, which simulates its rooms: leave one"
                " of them out"
            )
        check_simulation(config.rooms)
    return config


def _job(
    arguments: argparse.Namespace, corpora: Sequence[Corpus], given: GivenRecipes | None
) -> MixtureJob:
    config = given.config if given else _drawn_config(arguments)
    packages = ["numpy", "scipy", "soxr"]
    if isinstance(config.rooms, SimulatedRooms):
        packages.append("pyroomacoustics")
    return MixtureJob(
        corpora=tuple(corpus.description for corpus in corpora),
        config=config,
        recipes=tuple(
            f"{os.path.basename(file.path)} {file.crc32c}"
            for file in (given.files if given else ())
        ),
        seed=arguments.seed,
        splits=arguments.splits,
        num_mixtures=arguments.num_mixtures,
        num_shards=arguments.num_shards,
        compression="GZIP" if arguments.gzip else "",
        versions=(
            *(f"{name} {importlib.metadata.version(name)}" for name in packages),
            f"libsndfile {soundfile.__libsndfile_version__}",
        ),
    )


def _say_result(rendering: Rendering, *, recipes_only: bool) -> int:
    rejected = read_rejected(files.join(rendering.folder, dataset.REJECTED))
    plan = rendering.open_plan()
    if not (recipes_only or dataset_folder.is_complete(rendering.folder)):
        raise NothingToDoError(
            "not one mixture could be made of the files that can be decoded: see rejected.jsonl for"
            " what to mend in the corpus"
        )
    if rendering.given:
        print(rendering.plan_options.config.description)
    for split, num_speakers in plan.left_out().items():
        if num_speakers < rendering.plan_options.config.num_speakers:
            print(f"left out: {split}, whose {num_speakers} speakers are too few for a mixture")
        else:
            print(f"left out: {split}, for which too few mixtures were asked for")
    if recipes_only:
        done = f"{sum(plan.counts.values())} recipes in {files.join(rendering.folder, 'recipes')}"
    else:
        quality = json.loads(files.read_text(files.join(rendering.folder, dataset.QUALITY)))
        done = (
            f"{quality['num_mixtures']} mixtures, {quality['mixture_hours']:.2f} h,"
            f" {quality['num_shards']} shards in {rendering.folder};"
            f" look at {files.join(rendering.folder, dataset.REPORT)}"
        )
        if missing := quality["checks"]["missing_mixtures"]:
            done += f"; {missing} mixtures are missing, too few files could be used for them"
    if rejected:
        path = files.join(rendering.folder, dataset.REJECTED)
        print(f"done: {done}; {len(rejected)} files could not be used: see {path}")
        return SOME_REJECTED
    print(f"done: {done}")
    return DONE


def main(argv: Sequence[str]) -> int:
    """Follows a command line; whatever happens, the last line says how it ended."""
    return follow(argv, run, job="build_mixtures")


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

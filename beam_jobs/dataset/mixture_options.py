"""The options of `build_mixtures`, from the command line to the specification of a dataset."""

import argparse
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from typing import Literal

import soundfile

from beam_jobs.audio.codecs import codec_versions, find_missing
from beam_jobs.corpora import choose_layout
from beam_jobs.corpora.catalogue import VERSION as CATALOGUE_VERSION
from beam_jobs.corpora.layout import SOUNDS, Corpus, check_names, parse_corpora
from beam_jobs.corpora.sounds import parse_sounds
from beam_jobs.dataset.separate_corpora import check_apart
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.drawn_plan import plan_version
from beam_jobs.recipes.given_recipes import GivenRecipes, find_given_recipes
from beam_jobs.recipes.plan import PlanOptions
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.recipe_format import RecipeContext
from beam_jobs.recipes.splits import parse_shares
from beam_jobs.rendering.render import MAX_SAMPLES
from beam_jobs.rendering.rooms import check_simulation
from beam_jobs.storage import files
from command_line.options import UsageError
from schemas.mixture_job import MixtureJob
from schemas.recipe_config import RecipeConfig, SimulatedRooms

# As in the schema of recipe configurations; a mixture of less is none.
_MIN_LENGTH_S, _MAX_LENGTH_S = 0.1, 14400.0
_SAMPLE_RATES = (1000, 384000)


def channels_option(text: str) -> str | int:
    """Parses `--channels` for argparse."""
    if text in ("average", "stereo"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is neither average, stereo nor a number from 0")
    return int(text)


def length_option(text: str) -> str | float:
    """Parses `--length` for argparse."""
    if text in ("min", "max"):
        return text
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not _MIN_LENGTH_S <= seconds <= _MAX_LENGTH_S:
        raise argparse.ArgumentTypeError(
            f"{text} is neither min, max nor a number of seconds from"
            f" {_MIN_LENGTH_S} to {_MAX_LENGTH_S:.0f}"
        )
    return seconds


def sample_rate_option(text: str) -> int:
    """Parses `--sample_rate` for argparse."""
    low, high = _SAMPLE_RATES
    if not text.isdecimal() or len(text) > len(str(high)) or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text} is not a number of Hz from {low} to {high}")
    return int(text)


def specify_dataset(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[DatasetSpec, MixtureJob]:
    """Specifies the dataset that a command line asks for.

    Args:
        arguments: the options of the command.
        parser: has the default of each option.

    Returns:
        The specification, and the description of the job for its folder: two jobs with the same
        description write the same bytes.

    Raises:
        UserError: two options contradict each other, or what they name is not there.
    """
    named = map(files.expand, arguments.corpus)
    corpora = parse_corpora(list(named), arguments.corpus_format, arguments.speaker_regex)
    sounds = {
        option: parse_sounds(option, files.expand(getattr(arguments, option)))
        for option in SOUNDS
        if getattr(arguments, option)
    }
    given = _find_recipes(arguments, parser, corpora, sounds)
    # Fail on a layout that can't be told here rather than in a worker.
    layout_names = {} if given else {one.name: choose_layout(one).NAME for one in corpora}
    corpora += tuple(sounds.values())
    check_names(corpora)
    if given is None:
        check_apart(corpora)
    config = given.config if given else _choose_config(arguments)
    compression: Literal["", "GZIP"] = "GZIP" if arguments.gzip else ""
    spec = DatasetSpec(
        folder=files.absolute(arguments.output),
        corpora=corpora,
        compression=compression,
        plan_options=PlanOptions(
            config=config,
            seed=arguments.seed,
            shares={} if arguments.splits == "corpus" else parse_shares(arguments.splits),
            num_mixtures=arguments.num_mixtures,
            num_shards=arguments.num_shards,
            sounds={option: corpus.name for option, corpus in sounds.items()},
        ),
        given=given,
        layout_names=layout_names,
    )
    return spec, _describe_job(spec, arguments.splits)


def _find_recipes(
    arguments: argparse.Namespace,
    parser: argparse.ArgumentParser,
    corpora: Sequence[Corpus],
    sounds: Mapping[str, Corpus],
) -> GivenRecipes | None:
    if not arguments.recipes:
        if arguments.skip_missing_recipes:
            raise UsageError("--skip_missing_recipes has no effect without --recipes")
        return None
    for name in ("recipe", "channels", "num_mixtures", "seed", "splits", "catalogue"):
        if getattr(arguments, name) != parser.get_default(name):
            raise UsageError(f"--{name} is for recipes that are drawn, and --recipes gives them")
    context = RecipeContext(
        corpora={corpus.name: corpus for corpus in corpora},
        noise_corpus=sounds.get("noise"),
        rooms_corpus=sounds.get("rooms"),
        sample_rate=arguments.sample_rate or 0,
        length=arguments.length or "",
    )
    return find_given_recipes(
        list(map(files.expand, arguments.recipes)),
        context,
        skip_missing=arguments.skip_missing_recipes,
    )


def _choose_config(arguments: argparse.Namespace) -> RecipeConfig:
    recipe = files.expand(arguments.recipe)
    config = load_recipe_config(
        recipe,
        sample_rate=arguments.sample_rate,
        length=arguments.length,
        channels=arguments.channels,
    )
    if config.noise is not None and not arguments.noise:
        raise UsageError(f"--recipe={recipe} asks for noise: name a folder of it with --noise")
    if arguments.noise and config.noise is None:
        raise UsageError(
            f"--noise does not go with --recipe={recipe}, which gives noise no level: add"
            ' "noise": {"snr_db": 10} to it'
        )
    if config.rooms == "recorded" and not arguments.rooms:
        raise UsageError(
            f"--recipe={recipe} asks for recorded rooms: name a folder of responses with --rooms"
        )
    if arguments.rooms and config.rooms is None:
        raise UsageError(
            f"--rooms does not go with --recipe={recipe}, which has no rooms: add"
            ' "rooms": "recorded" to it'
        )
    if isinstance(config.rooms, SimulatedRooms):
        if arguments.rooms:
            raise UsageError(
                f"--rooms does not go with --recipe={recipe}, which simulates its rooms: leave one"
                " of them out"
            )
        check_simulation(config.rooms)
    if missing := find_missing(config.codecs):
        raise UsageError(f"--recipe={recipe}: transmission: {missing}")
    if not isinstance(config.length, str):
        num_samples = config.length * config.sample_rate * config.most_speakers
        if num_samples > MAX_SAMPLES:
            longest_s = MAX_SAMPLES / config.sample_rate / config.most_speakers
            raise UsageError(
                f"--length: {config.length:g} s of {config.most_speakers} speakers at"
                f" {config.sample_rate} Hz do not fit into memory: at most {longest_s:.0f} s"
            )
    return config


def _describe_job(spec: DatasetSpec, splits: str) -> MixtureJob:
    options = spec.plan_options
    packages = ["numpy", "scipy", "soxr"]
    if isinstance(options.config.rooms, SimulatedRooms):
        packages.append("pyroomacoustics")
    return MixtureJob(
        corpora=tuple(corpus.description for corpus in spec.corpora),
        config=options.config,
        recipes=tuple(
            f"{os.path.basename(file.path)} {file.crc32c}"
            for file in (spec.given.files if spec.given else ())
        ),
        seed=options.seed,
        splits=splits,
        num_mixtures=options.num_mixtures,
        num_shards=options.num_shards,
        compression=spec.compression,
        versions=(
            *(f"{name} {importlib.metadata.version(name)}" for name in packages),
            f"libsndfile {soundfile.__libsndfile_version__}",
            *(codec_versions() if spec.has_transmission else ()),
        ),
        plan=1 if spec.given else plan_version(options.config),
        catalogue=2 if spec.given and not spec.given.format.read_texts else CATALOGUE_VERSION,
    )

"""From the command line of `build_mixtures` to what is built."""

import argparse
import importlib.metadata
import os
from collections.abc import Mapping, Sequence

import soundfile

from beam_jobs.corpora.layout import Corpus
from beam_jobs.recipes.given_recipes import GivenRecipes, find_given_recipes
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.recipe_format import RecipeContext
from beam_jobs.rendering.rooms import check_simulation
from beam_jobs.runtime.options import UsageError
from schemas.mixture_job import MixtureJob
from schemas.recipe_config import RecipeConfig, SimulatedRooms


def find_recipes(
    arguments: argparse.Namespace,
    defaults: argparse.ArgumentParser,
    corpora: Sequence[Corpus],
    sounds: Mapping[str, Corpus],
) -> GivenRecipes | None:
    """Finds the recipes that the command line gives.

    Args:
        arguments: the options of the command.
        defaults: has the value of each option that is not given.
        corpora: of speech.
        sounds: the corpora of `noise` and `rooms`, where they are given.

    Returns:
        The recipes; None if they are to be drawn.

    Raises:
        UserError: two options do not go together, or what they name is not there.
    """
    if not arguments.recipes:
        if arguments.skip_missing_recipes:
            raise UsageError("--skip_missing_recipes has no effect without --recipes")
        return None
    for name in ("recipe", "channels", "num_mixtures", "seed", "splits", "catalogue"):
        if getattr(arguments, name) != defaults.get_default(name):
            raise UsageError(f"--{name} is for recipes that are drawn, and --recipes gives them")
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
        UserError: there is no such configuration, or it does not go with the other options.
    """
    recipe = arguments.recipe
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
    return config


def describe_job(
    arguments: argparse.Namespace, corpora: Sequence[Corpus], given: GivenRecipes | None
) -> MixtureJob:
    """Describes the job, for its folder: two jobs with the same description write the same bytes.

    Args:
        arguments: the options of the command.
        corpora: of speech, and after them of noise and rooms.
        given: the recipes, or None if they are to be drawn.

    Raises:
        UserError: there is no such recipe configuration, or it contradicts another option.
    """
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

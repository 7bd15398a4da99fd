"""Reads recipe configurations: presets that ship, by name, and the user's own, by path."""

import dataclasses
from importlib import resources
from typing import Literal

from beam_jobs.storage import files
from schemas.errors import did_you_mean
from schemas.recipe import Channels
from schemas.recipe_config import RecipeConfig, parse_recipe_config
from schemas.validation import InvalidDocumentError

_FOLDER = resources.files("beam_jobs.recipes") / "presets"


def preset_names() -> list[str]:
    """Returns the names of the presets."""
    return sorted(path.name.removesuffix(".json") for path in _FOLDER.iterdir())


def load_recipe_config(
    name_or_path: str,
    *,
    sample_rate: int | None = None,
    length: Literal["min", "max"] | float | None = None,
    channels: Channels | None = None,
) -> RecipeConfig:
    """Reads a recipe configuration.

    Args:
        name_or_path: of a preset, or of a JSON file.
        sample_rate: in Hz, instead of the configuration's own.
        length: instead of the configuration's own.
        channels: instead of the configuration's own.

    Raises:
        InvalidDocumentError: there is no such preset or file, or it does not follow the schema.
    """
    if name_or_path in preset_names():
        text = (_FOLDER / f"{name_or_path}.json").read_bytes()
    elif files.exists(name_or_path):
        text = files.read_bytes(name_or_path)
    else:
        names = preset_names()
        hint = did_you_mean(name_or_path, names) or f"those are {', '.join(names)}"
        raise InvalidDocumentError(
            f"--recipe={name_or_path}: no such file, and no recipe that ships: {hint}"
        )
    config = parse_recipe_config(text, name_or_path)
    if sample_rate is not None:
        config = dataclasses.replace(config, sample_rate=sample_rate)
    if length is not None:
        config = dataclasses.replace(config, length=length)
    if channels is not None:
        config = dataclasses.replace(config, channels=channels)
    return config

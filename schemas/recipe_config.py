"""Recipe configurations: what the recipes of a dataset are drawn from."""

import dataclasses
import json
from typing import Any, Literal

from schemas.recipe import LevelKind
from schemas.validation import InvalidDocumentError, load_document

VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Uniform:
    """A range to draw from evenly; a constant where both ends are the same."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True)
class RecipeConfig:
    """What the recipes of a dataset are drawn from.

    Attributes:
        description: one sentence for people.
        num_speakers: speakers in each mixture, 1 to 5.
        offset_s: how long after the one before it each source starts, in seconds.
        level_kind: as in `Source`, or `relative_db`: the RMS level of the first source over each
            other one.
        level: what the level is drawn from, in the unit that `level_kind` names.
        length: `max`, `min`, or seconds.
        sample_rate: the rate that mixtures are rendered at, in Hz.
        channels: `average` mixes the channels of each file down; a number picks one, from 0.
    """

    description: str
    num_speakers: int
    offset_s: Uniform
    level_kind: LevelKind | Literal["relative_db"]
    level: Uniform
    length: Literal["min", "max"] | float = "max"
    sample_rate: int = 16000
    channels: Literal["average"] | int = "average"

    def to_document(self) -> dict[str, Any]:
        """The JSON document that `parse_recipe_config` reads."""
        return {
            "version": VERSION,
            "description": self.description,
            "num_speakers": self.num_speakers,
            "offset_s": _range_document(self.offset_s),
            "level": {self.level_kind: _range_document(self.level)},
            "length": self.length,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
        }


def parse_recipe_config(text: str | bytes, origin: str) -> RecipeConfig:
    """Reads a recipe configuration.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not a recipe configuration, or a range that ends before it starts.
    """
    document = load_document(text, "recipe_config", origin)
    del document["version"]
    document["offset_s"] = _parse_range(document["offset_s"], f"{origin}: offset_s")
    ((kind, level),) = document.pop("level").items()
    return RecipeConfig(
        **document, level_kind=kind, level=_parse_range(level, f"{origin}: level.{kind}")
    )


def _parse_range(value: float | dict[str, list[float]], place: str) -> Uniform:
    low, high = value["uniform"] if isinstance(value, dict) else (value, value)
    if low > high:
        raise InvalidDocumentError(f"{place}: the range ends before it starts: {json.dumps(value)}")
    return Uniform(low, high)


def _range_document(value: Uniform) -> float | dict[str, list[float]]:
    return value.low if value.low == value.high else {"uniform": [value.low, value.high]}

"""What was measured of each mixture, and what it comes to."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.recipe import Recipe

UNPROCESSED = "unprocessed mixture"
IDEAL_RATIO_MASK = "ideal ratio mask"

_OVERLAP_EDGES = (0.25, 0.5, 0.75)
_LEVEL_EDGES_DB = (2.5, 5.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one model made of one mixture.

    Attributes:
        model: its name.
        mixture: the mixture's name.
        groups: the group that the mixture belongs to, by what groups are made of.
        measures: by name, such as `si_sdri_db`.
        audio: the files that one can listen to, of the mixture and of each source, if any.
    """

    model: str
    mixture: str
    groups: dict[str, str]
    measures: dict[str, float]
    audio: tuple[str, ...] = ()


def find_groups(level_db: float, recipe: Recipe | None = None) -> dict[str, str]:
    """The groups that a mixture belongs to.

    Args:
        level_db: the level of its loudest source over that of the quietest.
        recipe: of the mixture, where it has one.
    """
    groups = {}
    if recipe is not None:
        genders = {source.gender for source in recipe.sources}
        gender = "same" if len(genders) == 1 else "different"
        groups = {
            "gender": "unknown" if "" in genders else gender,
            "overlap": _range_name(
                100 * recipe.overlap_ratio, [100 * edge for edge in _OVERLAP_EDGES], "%"
            ),
        }
    return groups | {"level difference": _range_name(level_db, list(_LEVEL_EDGES_DB), "dB")}


def summarise(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One row per model: the mean and the median of each measure, and the mean SI-SDRi by group."""
    rows = []
    for model in dict.fromkeys(result.model for result in results):
        own = [result for result in results if result.model == model]
        row: dict[str, Any] = {"model": model, "mixtures": len(own)}
        for name in list_measures(own):
            values = [result.measures[name] for result in own if name in result.measures]
            row[name] = {"mean": float(np.mean(values)), "median": float(np.median(values))}
        row["groups"] = {}
        for kind in own[0].groups:
            by_group: dict[str, list[float]] = {}
            for result in own:
                by_group.setdefault(result.groups[kind], []).append(result.measures["si_sdri_db"])
            row["groups"][kind] = {
                group: {"mixtures": len(values), "mean": float(np.mean(values))}
                for group, values in sorted(by_group.items())
            }
        rows.append(row)
    return rows


def list_measures(results: Sequence[Result]) -> list[str]:
    """The names of all measures."""
    return list(dict.fromkeys(name for result in results for name in result.measures))


def name_audio(mixture: str, model: str, num_sources: int) -> tuple[str, ...]:
    """The names of the files of a mixture and of what a model made of it, as `Result` has them.

    Args:
        mixture: what the names begin with.
        model: its name.
        num_sources: how many outputs it has.
    """
    model = re.sub(r"[^A-Za-z0-9._]+", "_", model)
    outputs = (f"{mixture}-{model}-{slot}.flac" for slot in range(1, num_sources + 1))
    return (f"{mixture}-mixture.flac", *outputs)


def _range_name(value: float, edges: list[float], unit: str) -> str:
    for lower, upper in zip([0.0, *edges], edges, strict=False):
        if value < upper:
            return f"{lower:g}-{upper:g} {unit}"
    return f"from {edges[-1]:g} {unit}"

"""The results of an evaluation, and their summary for each model."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.recipe import Recipe
from scoring.metrics import SILENT_OUTPUTS, Levels

_OVERLAP_EDGES_PERCENT = (25, 50, 75)
_LEVEL_EDGES_DB = (2.5, 5.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Excerpt:
    """What a model made of a mixture, or of the beginning of a long one, to see and to hear.

    Attributes:
        duration_s: its length, in seconds.
        sample_rate: in Hz.
        picture: the name of a PNG file: a spectrogram of the mixture, coloured by the loudest of
            the sources, as the model has them.
        mixture: the name of an audio file.
        sources: the names of the audio files of each source, as the model has it.
    """

    duration_s: float
    sample_rate: int
    picture: str
    mixture: str
    sources: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The measures of what one model made of one mixture.

    Attributes:
        model: its name.
        mixture: the mixture's name.
        groups: the group that the mixture belongs to, by the property that groups are made by.
        measures: by name, such as `si_sdri_db`.
        excerpt: to see and to hear, if there is one; that of the unprocessed mixture has the true
            sources.
    """

    model: str
    mixture: str
    groups: dict[str, str]
    measures: dict[str, float]
    excerpt: Excerpt | None = None


def find_groups(levels_db: Levels, recipe: Recipe | None = None) -> dict[str, str]:
    """Returns the groups that a mixture belongs to, as `Result` has them.

    Args:
        levels_db: the level of each of its sources, [sources].
        recipe: of the mixture, where it has one; without it, only levels make groups.
    """
    groups = {"number of speakers": str(int(np.isfinite(levels_db).sum()))}
    if recipe is not None:
        genders = {source.gender for source in recipe.sources}
        gender = "same" if len(genders) == 1 else "different"
        groups |= {
            "gender": "unknown" if "" in genders else gender,
            "overlap": _range_name(100 * recipe.overlap_ratio, _OVERLAP_EDGES_PERCENT, "%"),
        }
    heard_db = levels_db[np.isfinite(levels_db)]
    difference_db = float(heard_db.max() - heard_db.min()) if len(heard_db) else 0.0
    return groups | {"level difference": _range_name(difference_db, _LEVEL_EDGES_DB, "dB")}


def summarise(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Summarises each model: mean and median of each measure, and mean SI-SDRi in each group.

    A measure that not all mixtures have says of how many mixtures it is. Silent outputs have a
    total instead of a mean.
    """
    summaries = []
    for model in dict.fromkeys(result.model for result in results):
        own = [result for result in results if result.model == model]
        summary: dict[str, Any] = {"model": model, "mixtures": len(own)}
        for name in list_measures(own):
            values = [result.measures[name] for result in own if name in result.measures]
            if name == SILENT_OUTPUTS:
                summary[name] = {"total": int(sum(values))}
            else:
                summary[name] = {"mean": float(np.mean(values)), "median": float(np.median(values))}
            if len(values) < len(own):
                summary[name]["mixtures"] = len(values)
        summary["groups"] = {}
        for kind in own[0].groups:
            by_group: dict[str, list[float]] = {}
            for result in own:
                if "si_sdri_db" in result.measures:
                    by_group.setdefault(result.groups[kind], []).append(
                        result.measures["si_sdri_db"]
                    )
            summary["groups"][kind] = {
                group: {"mixtures": len(values), "mean": float(np.mean(values))}
                for group, values in sorted(by_group.items())
            }
        summaries.append(summary)
    return summaries


def list_measures(results: Sequence[Result]) -> list[str]:
    """Returns the names of all measures, in the order in which they first occur."""
    return list(dict.fromkeys(name for result in results for name in result.measures))


def _range_name(value: float, edges: Sequence[float], unit: str) -> str:
    for lower, upper in zip([0.0, *edges], edges, strict=False):
        if value < upper:
            return f"{lower:g}-{upper:g} {unit}"
    return f"from {edges[-1]:g} {unit}"

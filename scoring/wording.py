"""What an evaluation says to people: the names of measures and their units, and what came out."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scoring.evaluation import IDEAL_RATIO_MASK, UNPROCESSED
from scoring.metrics import SILENT_OUTPUTS


@dataclasses.dataclass(frozen=True, slots=True)
class Wording:
    """A measure in words.

    Attributes:
        title: a name for people.
        unit: of the values, or their range.
        explanation: a sentence.
    """

    title: str
    unit: str
    explanation: str


MEASURES = {
    "si_sdri_db": Wording(
        "SI-SDR improvement",
        "dB",
        "SI-SDR is a speaker's power in an output over that of everything else in it, whatever the"
        " level; its improvement is that over the mixture.",
    ),
    "si_sdr_db": Wording("SI-SDR", "dB", ""),
    "sdr_db": Wording(
        "SDR", "dB", "SDR, of BSS Eval, does not count a change of the speaker's tone as an error."
    ),
    "stoi": Wording("STOI", "0 to 1", "STOI estimates how much of the speech is understood."),
    "pesq": Wording("PESQ", "1 to 4.6", "PESQ estimates how good it sounds."),
    "single_si_sdr_db": Wording(
        "SI-SDR of one alone", "dB", "Where one speaker is alone, the SI-SDR has a mean of its own."
    ),
    "residual_db": Wording(
        "Residual",
        "dB",
        "The residual is what is left in an output that nobody should be in, relative to the"
        " mixture.",
    ),
    SILENT_OUTPUTS: Wording(
        "Silent outputs",
        "number",
        "A silent output of a speaker who is heard has no ratio to anything: it is counted, and"
        " left out of all means.",
    ),
}
"""All measures by their names in `report.json`, in the order in which people see them."""


def separating_models(models: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the summaries of the models, without those of the bounds, the best one first."""
    own = [one for one in models if one["model"] not in (UNPROCESSED, IDEAL_RATIO_MASK)]
    return sorted(own, key=lambda one: -improvement_of(one))


def improvement_of(model: Mapping[str, Any]) -> float:
    """Returns the mean improvement of SI-SDR in a summary; 0 where nothing is separated."""
    return float(model["si_sdri_db"]["mean"]) if "si_sdri_db" in model else 0.0


def improvement_db(models: Sequence[Mapping[str, Any]], model: str) -> float:
    """Returns the mean improvement of SI-SDR that a model reaches."""
    (found,) = (one for one in models if one["model"] == model)
    return improvement_of(found)


def describe_outcome(models: Sequence[Mapping[str, Any]]) -> str:
    """Says in a sentence what came out.

    Args:
        models: the summaries of all models and bounds.
    """
    best, *others = separating_models(models)
    num_silent = best[SILENT_OUTPUTS]["total"] if SILENT_OUTPUTS in best else 0
    if "si_sdri_db" not in best:
        if num_silent:
            return f"All outputs of {best['model']} are silent: there is nothing to score."
        return "Nobody speaks at the same time as somebody else: there is nothing to separate."
    count = max(one["mixtures"] for one in models)
    mixtures = "the mixture" if count == 1 else f"the {count} mixtures"
    if num_separated := best["si_sdri_db"].get("mixtures"):
        mixtures = f"{num_separated} of {mixtures}, those of several speakers,"
    gain_db = best["si_sdri_db"]["mean"]
    if gain_db < 0:
        sentence = f"{best['model']} makes {mixtures} worse by {_format_db(-gain_db)}"
    else:
        sentence = f"{best['model']} improves {mixtures} by {_format_db(gain_db)}"
    if others:
        rest = ", ".join(f"{one['model']} by {_format_db(improvement_of(one))}" for one in others)
        sentence += f", {rest}"
    if num_silent:
        left_out = "an output that is" if num_silent == 1 else f"{num_silent} outputs that are"
        sentence += f", without {left_out} silent"
    bound_db = improvement_db(models, IDEAL_RATIO_MASK)
    return f"{sentence}; an ideal mask could by {_format_db(bound_db)}."


def format_plain(value: float, decimals: int) -> str:
    """Formats a number in ASCII, for text that programs read, too."""
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _format_db(value: float) -> str:
    return f"{format_plain(value, 1)} dB"

"""The report of an evaluation: as text, as JSON, and as a page."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from scoring.diarisation import DiarisationErrors, add_up
from scoring.page import render_report
from scoring.report_files import DOCUMENT, PAGE, TEXT
from scoring.results import Result, summarise
from scoring.wording import MEASURES, describe_outcome, format_plain

_WIDTH = 22


def render_reports(
    results: Sequence[Result],
    diarisation: Sequence[DiarisationErrors] = (),
    diarisation_reference: str = "",
) -> dict[str, str]:
    """Renders the report.

    Args:
        results: of all mixtures.
        diarisation: the errors in who speaks when, where that was scored.
        diarisation_reference: where the true turns are from, for people.

    Returns:
        The content of each file of the report, by its name.
    """
    models = summarise(results)
    document: dict[str, Any] = {
        "models": models,
        "results": [dataclasses.asdict(result) for result in results],
    }
    if diarisation:
        document["diarisation"] = {
            "reference": diarisation_reference,
            "all": dataclasses.asdict(add_up(diarisation)),
            "mixtures": [dataclasses.asdict(errors) for errors in diarisation],
        }
    return {
        TEXT: _render_text(models, diarisation, diarisation_reference),
        DOCUMENT: json.dumps(document, indent=1) + "\n",
        PAGE: render_report(results, models, diarisation, diarisation_reference),
    }


def _render_text(
    models: Sequence[dict[str, Any]],
    diarisation: Sequence[DiarisationErrors],
    diarisation_reference: str,
) -> str:
    lines = []
    if models:
        names = [name for name in MEASURES if any(name in one for one in models)]
        lines += [describe_outcome(models), "", "mean (median)"]
        lines.append(_row("", [MEASURES[name].title for name in names]))
        lines.append(_row("", [MEASURES[name].unit for name in names]))
        for one in models:
            lines.append(_row(one["model"], [_cell(one, name) for name in names]))
        for kind, groups in models[0]["groups"].items():
            if len(groups) > 1:
                lines += ["", f"SI-SDR improvement in dB, by {kind}"]
                heads = [f"{group} ({cell['mixtures']})" for group, cell in groups.items()]
                lines.append(_row("", heads))
                for one in models:
                    found = [one["groups"][kind].get(group) for group in groups]
                    cells = [format_plain(cell["mean"], 2) if cell else "-" for cell in found]
                    lines.append(_row(one["model"], cells))
    if diarisation:
        lines += [
            "",
            f"who speaks when, {len(diarisation)} mixtures, against {diarisation_reference}:"
            f" {add_up(diarisation)}",
        ]
    return "\n".join(lines) + "\n"


def _cell(summary: dict[str, Any], name: str) -> str:
    """Returns the mean and the median of a measure, or its total."""
    if name not in summary:
        return "-"
    found = summary[name]
    if "total" in found:
        return str(found["total"])
    return f"{format_plain(found['mean'], 2)} ({format_plain(found['median'], 2)})"


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:{_WIDTH}}" + "".join(f"{cell:>20}" for cell in cells)

"""The report of an evaluation: as text, as JSON, and as a page where one can listen."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from scoring.diarisation import DiarisationErrors, add_up
from scoring.results import Result, list_measures, summarise

AUDIO = "audio"
TEXT, DOCUMENT, PAGE = "report.txt", "report.json", "report.html"


def render_reports(
    results: Sequence[Result], diarisation: Sequence[DiarisationErrors] = ()
) -> dict[str, str]:
    """Renders the report.

    The page plays the files that the results name, in a folder `audio` beside it.

    Args:
        results: of all mixtures.
        diarisation: how well it was told who speaks when, where that was scored.

    Returns:
        The content of each file by its name.
    """
    rows = summarise(results)
    document: dict[str, Any] = {
        "models": rows,
        "results": [dataclasses.asdict(result) for result in results],
    }
    if diarisation:
        document["diarisation"] = {
            "all": dataclasses.asdict(add_up(diarisation)),
            "mixtures": [dataclasses.asdict(errors) for errors in diarisation],
        }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scoring"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("evaluation.html").render(
        models=rows,
        measures=list_measures(results),
        histograms={row["model"]: _histogram(results, row["model"]) for row in rows},
        heard={
            mixture: [result for result in results if result.mixture == mixture]
            for mixture in dict.fromkeys(result.mixture for result in results if result.audio)
        },
        diarisation=add_up(diarisation) if diarisation else None,
    )
    return {
        TEXT: _render_text(rows, list_measures(results), diarisation),
        DOCUMENT: json.dumps(document, indent=1) + "\n",
        PAGE: page,
    }


def _render_text(
    rows: Sequence[dict[str, Any]],
    names: Sequence[str],
    diarisation: Sequence[DiarisationErrors],
) -> str:
    lines = []
    if rows:
        width = max(len(row["model"]) for row in rows)
        lines += [f"{rows[0]['mixtures']} mixtures; mean (median)", ""]
        lines.append(f"{'':{width}}" + "".join(f"{name:>18}" for name in names))
        for row in rows:
            cells = [
                f"{row[name]['mean']:.2f} ({row[name]['median']:.2f})" if name in row else "-"
                for name in names
            ]
            lines.append(f"{row['model']:{width}}" + "".join(f"{cell:>18}" for cell in cells))
        for kind, groups in rows[0]["groups"].items():
            lines += ["", f"si_sdri_db by {kind}"]
            heads = [f"{group} ({cell['mixtures']})" for group, cell in groups.items()]
            lines.append(f"{'':{width}}" + "".join(f"{head:>18}" for head in heads))
            for row in rows:
                found = [row["groups"][kind].get(group) for group in groups]
                cells = [f"{cell['mean']:.2f}" if cell else "-" for cell in found]
                lines.append(f"{row['model']:{width}}" + "".join(f"{cell:>18}" for cell in cells))
    if diarisation:
        lines += ["", f"who speaks when, {len(diarisation)} mixtures: {add_up(diarisation)}"]
    return "\n".join(lines) + "\n"


def _histogram(results: Sequence[Result], model: str) -> list[tuple[int, int]]:
    """How many mixtures each whole dB of SI-SDRi has; the first is the lower edge in dB."""
    edges = range(-10, 21)
    values = [result.measures["si_sdri_db"] for result in results if result.model == model]
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1] - 0.001), bins=list(edges))
    return list(zip(edges, counts.tolist(), strict=False))

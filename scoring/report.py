"""The report of an evaluation: as text, as JSON, and as a page with audio players."""

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
    results: Sequence[Result],
    diarisation: Sequence[DiarisationErrors] = (),
    diarisation_reference: str = "",
) -> dict[str, str]:
    """Renders the report.

    The page plays the files that the results name, from the folder `audio` beside it.

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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scoring"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("evaluation.html").render(
        models=models,
        measures=list_measures(results),
        histograms={one["model"]: _histogram(results, one["model"]) for one in models},
        heard={
            mixture: [result for result in results if result.mixture == mixture]
            for mixture in dict.fromkeys(result.mixture for result in results if result.audio)
        },
        diarisation=add_up(diarisation) if diarisation else None,
        diarisation_reference=diarisation_reference,
    )
    return {
        TEXT: _render_text(models, list_measures(results), diarisation, diarisation_reference),
        DOCUMENT: json.dumps(document, indent=1) + "\n",
        PAGE: page,
    }


def _render_text(
    models: Sequence[dict[str, Any]],
    names: Sequence[str],
    diarisation: Sequence[DiarisationErrors],
    diarisation_reference: str,
) -> str:
    lines = []
    if models:
        width = max(len(model["model"]) for model in models)
        lines += [f"{models[0]['mixtures']} mixtures; mean (median)", ""]
        lines.append(f"{'':{width}}" + "".join(f"{name:>18}" for name in names))
        for model in models:
            cells = [
                f"{model[name]['mean']:.2f} ({model[name]['median']:.2f})" if name in model else "-"
                for name in names
            ]
            lines.append(f"{model['model']:{width}}" + "".join(f"{cell:>18}" for cell in cells))
        for kind, groups in models[0]["groups"].items():
            lines += ["", f"si_sdri_db by {kind}"]
            heads = [f"{group} ({cell['mixtures']})" for group, cell in groups.items()]
            lines.append(f"{'':{width}}" + "".join(f"{head:>18}" for head in heads))
            for model in models:
                found = [model["groups"][kind].get(group) for group in groups]
                cells = [f"{cell['mean']:.2f}" if cell else "-" for cell in found]
                lines.append(f"{model['model']:{width}}" + "".join(f"{cell:>18}" for cell in cells))
    if diarisation:
        lines += [
            "",
            f"who speaks when, {len(diarisation)} mixtures, against {diarisation_reference}:"
            f" {add_up(diarisation)}",
        ]
    return "\n".join(lines) + "\n"


def _histogram(results: Sequence[Result], model: str) -> list[tuple[int, int]]:
    """Counts the mixtures in each whole dB of SI-SDRi: pairs of the lower edge and the number."""
    edges = range(-10, 21)
    values = [result.measures["si_sdri_db"] for result in results if result.model == model]
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1] - 0.001), bins=list(edges))
    return list(zip(edges, counts.tolist(), strict=False))

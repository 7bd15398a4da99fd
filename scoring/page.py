"""The page of an evaluation; it plays and shows the files in the folder `audio` beside it."""

import itertools
import statistics
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pages.chart import draw_histogram
from pages.listening import SOURCE_COLOURS, ExampleView, Picture, Track
from pages.numbers import format_fixed, format_hours
from pages.page import render_page
from pages.spectrogram import max_frequency_hz
from scoring.diarisation import COLLAR_S, DiarisationErrors, add_up
from scoring.evaluation import IDEAL_RATIO_MASK, UNPROCESSED
from scoring.report_files import AUDIO
from scoring.results import Excerpt, Result, list_measures
from scoring.wording import MEASURES, describe_outcome, improvement_db, separating_models

_TITLE_COLOUR = "#ffffff"
_MAX_BARS = 40


def render_report(
    results: Sequence[Result],
    models: Sequence[dict[str, Any]],
    diarisation: Sequence[DiarisationErrors],
    diarisation_reference: str,
) -> str:
    """Renders `report.html`.

    Args:
        results: of all mixtures.
        models: the summary of each model and bound.
        diarisation: the errors in who speaks when, where that was scored.
        diarisation_reference: where the true turns are from, for people.
    """
    names = [name for name in MEASURES if name in list_measures(results)]
    return render_page(
        "evaluation.html",
        verdict=describe_outcome(models) if models else "",
        headlines=_headlines(models, results) if models else (),
        measures=[MEASURES[name] for name in names],
        rows=[(one["model"], [_cell(one, name) for name in names]) for one in models],
        groups=_tabulate_groups(models),
        charts=_draw_charts(results),
        diarisation=_diarisation_headlines(diarisation),
        diarisation_reference=diarisation_reference,
        collar_s=COLLAR_S,
        examples=_view_examples(results),
    )


def _headlines(
    models: Sequence[dict[str, Any]], results: Sequence[Result]
) -> list[tuple[str, str]]:
    best, *others = separating_models(models)
    label = "better than the mixture (SI-SDR)"
    values_db = _improvements_db(one for one in results if one.model == best["model"])
    headlines = [(f"{best['mixtures']:,}", "mixture" if best["mixtures"] == 1 else "mixtures")]
    if values_db:
        headlines += [
            (
                _format_db(best["si_sdri_db"]["mean"]),
                f"{label}, by {best['model']}" if others else label,
            ),
            (_format_db(improvement_db(models, IDEAL_RATIO_MASK)), "what an ideal mask reaches"),
            (_format_db(min(values_db)), "the least improvement"),
        ]
    if "stoi" in best:
        before = next(one for one in models if one["model"] == UNPROCESSED)["stoi"]["mean"]
        stoi = format_fixed(best["stoi"]["mean"], 2)
        headlines.append(
            (stoi, f"intelligibility (STOI, up to 1), {format_fixed(before, 2)} before")
        )
    return headlines


def _improvements_db(results: Iterable[Result]) -> list[float]:
    """Returns the improvements of SI-SDR, of those results that have one."""
    return [one.measures["si_sdri_db"] for one in results if "si_sdri_db" in one.measures]


def _cell(summary: dict[str, Any], name: str) -> tuple[str, str]:
    """Returns the mean and the median of a measure, or its total; nothing if it was not taken."""
    if name not in summary:
        return "\N{EN DASH}", ""
    if "total" in summary[name]:
        return f"{summary[name]['total']:,}", ""
    unit = " dB" if MEASURES[name].unit == "dB" else ""
    mean, median = (format_fixed(summary[name][kind], 2) for kind in ("mean", "median"))
    return f"{mean}{unit}", f"median {median}"


def _tabulate_groups(models: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a table for each property that divides the mixtures."""
    return [
        {
            "kind": kind,
            "columns": [
                (group, f"{cell['mixtures']:,} mixture{'s' * (cell['mixtures'] > 1)}")
                for group, cell in groups.items()
            ],
            "rows": [
                (
                    one["model"],
                    [
                        _format_db(found["mean"], 2) if found else "\N{EN DASH}"
                        for found in (one["groups"][kind].get(group) for group in groups)
                    ],
                )
                for one in models
            ],
        }
        for kind, groups in (models[0]["groups"].items() if models else ())
        if len(groups) > 1
    ]


def _draw_charts(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """Draws how the improvement is spread: for each model its name, a few numbers, and bars."""
    by_model = {
        model: values_db
        for model in dict.fromkeys(one.model for one in results if one.model != UNPROCESSED)
        if (values_db := _improvements_db(one for one in results if one.model == model))
    }
    if not by_model:
        return []
    # All charts have one scale, so that they can be compared.
    everything = [value for values in by_model.values() for value in values]
    low, high = int(np.floor(min(everything))), int(np.floor(max(everything))) + 1
    step = next(step for step in itertools.count(1) if (high - low) / step <= _MAX_BARS)
    edges = np.arange(low, high + step, step)
    charts = []
    for model, values in by_model.items():
        counts, _ = np.histogram(values, edges)
        low_db, median_db, high_db = (
            format_fixed(value, 1)
            for value in (min(values), statistics.median(values), max(values))
        )
        summary = f"median {median_db}, from {low_db} to {high_db} dB"
        charts.append((model, summary, draw_histogram(edges.tolist(), counts.tolist())))
    return charts


def _diarisation_headlines(diarisation: Sequence[DiarisationErrors]) -> list[tuple[str, str]]:
    if not diarisation:
        return []
    errors = add_up(diarisation)
    total_s = errors.speech_s or 1.0
    return [
        (f"{errors.rate:.1%}", "diarisation error rate"),
        (f"{errors.missed_s / total_s:.1%}", "missed"),
        (f"{errors.false_alarm_s / total_s:.1%}", "falsely detected"),
        (f"{errors.confusion_s / total_s:.1%}", "given to another speaker"),
        (format_hours(errors.speech_s / 3600), "of speech"),
    ]


def _view_examples(results: Sequence[Result]) -> list[ExampleView]:
    by_mixture: dict[str, list[tuple[Result, Excerpt]]] = {}
    for one in results:
        if one.excerpt is not None:
            by_mixture.setdefault(one.mixture, []).append((one, one.excerpt))
    return [_view_example(mixture, shown) for mixture, shown in by_mixture.items()]


def _view_example(mixture: str, shown: Sequence[tuple[Result, Excerpt]]) -> ExampleView:
    result, excerpt = shown[0]
    tracks = []
    for one, own in shown:
        if one.model == UNPROCESSED:
            row = [Track("Mixture", "as the models hear it", "", _address(own.mixture))]
            detail = "in truth"
        else:
            row = []
            better = "".join(f", {_format_db(value)} better" for value in _improvements_db([one]))
            detail = f"by {one.model}{better}"
        tracks.append(
            row
            + [
                Track(f"Speaker {number}", detail, colour, _address(name))
                for number, (name, colour) in enumerate(
                    zip(own.sources, itertools.cycle(SOURCE_COLOURS)), 1
                )
            ]
        )
    return ExampleView(
        title=mixture,
        detail=", ".join(
            [f"{excerpt.duration_s:.1f} s"]
            + [f"{kind} {group}" for kind, group in result.groups.items() if group != "unknown"]
        ),
        start_s=0.0,
        duration_s=excerpt.duration_s,
        max_khz=max_frequency_hz(excerpt.sample_rate) / 1000,
        pictures=[
            Picture(
                "in truth" if one.model == UNPROCESSED else one.model,
                _TITLE_COLOUR,
                _address(own.picture),
            )
            for one, own in shown
        ],
        lanes=(),
        tracks=tracks,
    )


def _address(name: str) -> str:
    return f"{AUDIO}/{urllib.parse.quote(name)}"


def _format_db(value: float, decimals: int = 1) -> str:
    return f"{format_fixed(value, decimals)} dB"

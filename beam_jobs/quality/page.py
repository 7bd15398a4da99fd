"""The quality report for people: one HTML page that needs no other file."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from beam_jobs.pages.listening import (
    NOISE_COLOUR,
    SOURCE_COLOURS,
    ExampleView,
    Picture,
    TimelineLane,
    Track,
    active_stretches,
    mp3_uri,
    view_all,
)
from beam_jobs.pages.page import render_page
from beam_jobs.pages.spectrogram import draw_spectrogram, max_frequency_hz
from beam_jobs.quality.examples import Example
from schemas.quality import Histogram, Quality

# Matplotlib knows no CSS: these are replaced by variables of the page, which has two schemes.
_BAR_COLOUR = "#0000b1"
_INK_COLOUR = "#0000b2"
_RULE_COLOUR = "#0000b3"
_CSS_COLOURS = {
    _BAR_COLOUR: "var(--bar)",
    _INK_COLOUR: "var(--soft)",
    _RULE_COLOUR: "var(--rule)",
}

# What is counted in `SplitUses`, and what the page calls it.
_USES = (
    ("utterances", "Utterances"),
    ("in_shards", "Utterances in a shard"),
    ("speakers", "Speakers"),
)
_MAX_USE_BARS = 30


def render_report(quality: Quality, examples: Sequence[Example]) -> str:
    """Renders `report.html`.

    Args:
        quality: the content of `quality.json`.
        examples: the mixtures that the page shows and plays, in this order.
    """
    return render_page(
        "report.html",
        quality=quality,
        histogram_charts={
            name: _draw_histogram(histogram.edges, histogram.counts)
            for name, histogram in quality.histograms.items()
            if histogram.num
        },
        uses=_USES,
        use_charts={
            split: {
                kind: _draw_uses(counted.histogram)
                for kind, _ in _USES
                if (counted := getattr(uses, kind)) is not None
            }
            for split, uses in quality.use.items()
        },
        summarise=_summarise,
        examples=view_all(_view_example, examples),
    )


def _view_example(example: Example) -> ExampleView:
    rate = example.sample_rate
    duration_s = len(example.mixture) / rate
    colours = SOURCE_COLOURS[: len(example.sources)]
    lanes = [
        TimelineLane(speaker, colour, placed, active_stretches(source, rate))
        for speaker, colour, placed, source in zip(
            example.speakers, colours, example.placed_s, example.sources, strict=True
        )
    ]
    content = "all sources" if example.noise is None else "all sources and the noise"
    tracks = [Track("Mixture", content, "", mp3_uri(example.mixture, rate))]
    for lane, gain_db, source in zip(lanes, example.gains_db, example.sources, strict=True):
        start = "starts at" if len(lane.placed) == 1 else f"{len(lane.placed)} utterances from"
        detail = f"{start} {lane.placed[0][0]:.2f} s, gain {_format_fixed(gain_db, 1)} dB"
        tracks.append(Track(lane.name, detail, lane.colour, mp3_uri(source, rate)))
    parts = list(zip(example.sources, colours, strict=True))
    if example.noise is not None:
        parts.append((example.noise, NOISE_COLOUR))
        tracks.append(
            Track(
                "Noise", "as it sounds in the mixture", NOISE_COLOUR, mp3_uri(example.noise, rate)
            )
        )
    return ExampleView(
        title=example.id,
        detail=f"{example.split}, {duration_s:.1f} s",
        start_s=0.0,
        duration_s=duration_s,
        max_khz=max_frequency_hz(rate) / 1000,
        pictures=[Picture("mixture", "", draw_spectrogram(example.mixture, parts, rate))],
        lanes=lanes,
        tracks=tracks,
    )


def _draw_histogram(edges: Sequence[float], counts: Sequence[int]) -> str:
    """Draws bars as SVG whose colours and font are those of the page."""
    figure = Figure(figsize=(4.6, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    widths = np.diff(edges)
    axes.bar(edges[:-1], counts, widths * 0.92, align="edge", color=_BAR_COLOUR)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(length=0, pad=6, colors=_INK_COLOUR, labelsize=12)
    axes.grid(axis="y", color=_RULE_COLOUR, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=_RULE_COLOUR)
    return _svg(figure)


def _draw_uses(histogram: Mapping[int, int]) -> str:
    """Draws how many things are used how often; neighbouring numbers share a bar if too many."""
    uses = np.array(list(histogram))
    num = np.array(list(histogram.values()))
    first, last = (uses.min(), uses.max()) if len(uses) else (0, 0)
    step = -(-(last - first + 1) // _MAX_USE_BARS)
    # Half-way between integers, so that each bar is centred on its number.
    edges = np.arange(first, last + step + 1, step) - 0.5
    if step == 1:
        # One bar alone would fill the chart.
        edges = np.arange(max(first - 2, 0), last + 4) - 0.5
    counts, _ = np.histogram(uses, edges, weights=num)
    return _draw_histogram(edges.tolist(), counts.astype(int).tolist())


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Text stays text, in the font of the page; the salt makes the same chart the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    # Every chart has groups of the same names, and an id may occur only once in a page.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for colour, css in _CSS_COLOURS.items():
        svg = svg.replace(colour, css)
    return svg


def _format_fixed(value: float, decimals: int) -> str:
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _summarise(histogram: Histogram) -> str:
    assert histogram.mean is not None
    assert histogram.min is not None
    assert histogram.max is not None
    span = histogram.max - histogram.min or 1.0
    decimals = int(np.clip(1 - np.floor(np.log10(span)), 1, 3))
    mean, low, high = (
        _format_fixed(value, decimals) for value in (histogram.mean, histogram.min, histogram.max)
    )
    return f"mean {mean}, from {low} to {high} {histogram.unit}"

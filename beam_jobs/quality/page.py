"""The quality report for people: one HTML page that needs no other file."""

from collections.abc import Mapping, Sequence

import numpy as np

from beam_jobs.audio.activity import active_stretches
from beam_jobs.quality.examples import Example
from pages.chart import draw_histogram
from pages.listening import (
    NOISE_COLOUR,
    SOURCE_COLOURS,
    ExampleView,
    Picture,
    TimelineLane,
    Track,
    mp3_uri,
    view_all,
)
from pages.numbers import format_fixed
from pages.page import data_uri, render_page
from pages.spectrogram import draw_spectrograms, max_frequency_hz
from schemas.quality import Histogram, Quality

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
            name: draw_histogram(histogram.edges, histogram.counts)
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
    if example.degraded is not None:
        heard = mp3_uri(example.degraded, rate)
        tracks.append(Track("Degraded", "the mixture after its transmission", "", heard))
    for lane, gain_db, source in zip(lanes, example.gains_db, example.sources, strict=True):
        start = "starts at" if len(lane.placed) == 1 else f"{len(lane.placed)} utterances from"
        detail = f"{start} {lane.placed[0][0]:.2f} s, gain {format_fixed(gain_db, 1)} dB"
        tracks.append(Track(lane.name, detail, lane.colour, mp3_uri(source, rate)))
    parts = list(zip(example.sources, colours, strict=True))
    if example.noise is not None:
        parts.append((example.noise, NOISE_COLOUR))
        tracks.append(
            Track(
                "Noise", "as it sounds in the mixture", NOISE_COLOUR, mp3_uri(example.noise, rate)
            )
        )
    if example.noise_events_s:
        lanes.append(TimelineLane("Noise events", NOISE_COLOUR, (), example.noise_events_s))
    (picture,) = draw_spectrograms([(example.mixture, parts)], rate)
    return ExampleView(
        title=example.id,
        detail=f"{example.split}, {duration_s:.1f} s",
        start_s=0.0,
        duration_s=duration_s,
        max_khz=max_frequency_hz(rate) / 1000,
        pictures=[Picture("mixture", "", data_uri("image/png", picture))],
        lanes=lanes,
        tracks=[tracks],
    )


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
    return draw_histogram(edges.tolist(), counts.astype(int).tolist())


def _summarise(histogram: Histogram) -> str:
    assert histogram.mean is not None
    assert histogram.min is not None
    assert histogram.max is not None
    span = histogram.max - histogram.min or 1.0
    decimals = int(np.clip(1 - np.floor(np.log10(span)), 1, 3))
    mean, low, high = (
        format_fixed(value, decimals) for value in (histogram.mean, histogram.min, histogram.max)
    )
    return f"mean {mean}, from {low} to {high} {histogram.unit}"

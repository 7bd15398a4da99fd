"""The quality report that a person looks at: one HTML page that needs nothing beside it."""

import base64
import concurrent.futures
import dataclasses
import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import matplotlib
import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile
import soxr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from PIL import Image

from schemas.validation import check_document

Pcm = npt.NDArray[np.int16]

# Bright enough for the dark panel of an example, and apart from each other for the colour-blind.
_PANEL_COLOUR = (13, 17, 28)
_SOURCE_COLOURS = ("#5cb3ff", "#ffb454", "#56d9a4", "#ff86b3", "#b9a2ff")
_NOISE_COLOUR = "#98a3b8"

# Matplotlib knows no CSS: these stand in for the variables of the page, which has two schemes.
_BAR_COLOUR = "#0000b1"
_INK_COLOUR = "#0000b2"
_RULE_COLOUR = "#0000b3"
_CSS_COLOURS = {
    _BAR_COLOUR: "var(--bar)",
    _INK_COLOUR: "var(--soft)",
    _RULE_COLOUR: "var(--rule)",
}

_MAX_USE_BARS = 30

_FRAME_S = 0.02
# Below this, relative to the loud frames of a source, is the noise floor of its recording.
_ACTIVITY_RANGE_DB = 25.0
# Shorter than this, a gap is a stop consonant and not a pause.
_MIN_PAUSE_S = 0.1

_SPECTROGRAM_SHAPE = (128, 840)
_SPECTROGRAM_WINDOW_S = 0.032
_SPECTROGRAM_RANGE_DB = 66.0
_SPECTROGRAM_MAX_HZ = 8000

_MP3_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# About 32 kbit/s for speech at 16 kHz.
_MP3_COMPRESSION = 0.7


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A mixture to look at and to listen to.

    Attributes:
        id: of the mixture.
        split: that it belongs to.
        sample_rate: in Hz.
        mixture: `[samples, channels]`.
        sources: `[sources, samples, channels]`, each as it sounds in the mixture.
        noise: `[samples, channels]`, or None where the mixture has none.
        speakers: of each source.
        placed_s: start and end of each utterance of each source in the mixture, in seconds.
        gains_db: what each source was scaled by.
    """

    id: str
    split: str
    sample_rate: int
    mixture: Pcm
    sources: Pcm
    noise: Pcm | None
    speakers: tuple[str, ...]
    placed_s: tuple[tuple[tuple[float, float], ...], ...]
    gains_db: tuple[float, ...]


def render_report(quality: Mapping[str, Any], examples: Sequence[Example]) -> str:
    """Renders `report.html`.

    Args:
        quality: the content of `quality.json`.
        examples: what the page shows and plays, in this order.

    Raises:
        InvalidDocumentError: `quality` is not as its schema says.
    """
    check_document(quality, "quality", "quality.json")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("beam_jobs"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "hours": _format_hours,
        "bytes": _format_bytes,
        "short": _format_short,
        "summary": _summarise,
    }
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # Encoding for the players takes most of the time, and lets go of the interpreter.
        views = list(pool.map(_view_example, examples))
    page = environment.get_template("report.html").render(
        quality=quality,
        histogram_charts={
            key: _draw_histogram(histogram["edges"], histogram["counts"])
            for key, histogram in quality["histograms"].items()
            if histogram["num"]
        },
        use_charts={
            split: {kind: _draw_uses(uses["histogram"]) for kind, uses in kinds.items()}
            for split, kinds in quality["use"].items()
        },
        examples=views,
    )
    # A file name that is not UTF-8 arrives with surrogates, which no file can hold.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def active_stretches(source: Pcm, sample_rate: int) -> list[tuple[float, float]]:
    """Finds where a source sounds: frames of 20 ms within 25 dB of its loud frames.

    Args:
        source: `[samples, channels]`.
        sample_rate: in Hz.

    Returns:
        Start and end of each stretch in seconds, ascending; pauses under 100 ms are bridged.
    """
    frame = max(1, round(_FRAME_S * sample_rate))
    num_frames = -(-len(source) // frame)
    power = np.zeros(num_frames * frame)
    power[: len(source)] = np.mean(source.astype(np.float64) ** 2, axis=1)
    power = power.reshape(num_frames, frame).mean(axis=1)
    if not power.any():
        return []
    loud = np.percentile(power[power > 0], 95)
    active = np.flatnonzero(power > loud * 10 ** (-_ACTIVITY_RANGE_DB / 10))
    breaks = np.flatnonzero(np.diff(active) * _FRAME_S > _MIN_PAUSE_S)
    starts = active[np.r_[0, breaks + 1]] * frame
    stops = np.minimum((active[np.r_[breaks, -1]] + 1) * frame, len(source))
    return [
        (start / sample_rate, stop / sample_rate) for start, stop in zip(starts, stops, strict=True)
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class _Track:
    """One player: the mixture, a source or the noise."""

    name: str
    detail: str
    colour: str
    audio: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """One line of the time line; all in seconds."""

    name: str
    colour: str
    placed: tuple[tuple[float, float], ...]
    active: list[tuple[float, float]]

    @property
    def start(self) -> float:
        """Where the first utterance begins."""
        return self.placed[0][0]

    @property
    def stop(self) -> float:
        """Where the last utterance ends."""
        return self.placed[-1][1]


@dataclasses.dataclass(frozen=True, slots=True)
class _ExampleView:
    id: str
    split: str
    duration_s: float
    spectrogram: str
    max_khz: float
    ticks_s: list[float]
    rows: list[_Row]
    tracks: list[_Track]


def _view_example(example: Example) -> _ExampleView:
    rate = example.sample_rate
    duration_s = len(example.mixture) / rate
    colours = _SOURCE_COLOURS[: len(example.sources)]
    rows = [
        _Row(speaker, colour, placed, active_stretches(source, rate))
        for speaker, colour, placed, source in zip(
            example.speakers, colours, example.placed_s, example.sources, strict=True
        )
    ]
    content = "all sources" if example.noise is None else "all sources and the noise"
    tracks = [_Track("Mixture", content, "", _mp3_uri(example.mixture, rate))]
    for row, gain_db, source in zip(rows, example.gains_db, example.sources, strict=True):
        start = "starts at" if len(row.placed) == 1 else f"{len(row.placed)} utterances from"
        detail = f"{start} {row.start:.2f} s, gain {_format_fixed(gain_db, 1)} dB"
        tracks.append(_Track(row.name, detail, row.colour, _mp3_uri(source, rate)))
    parts = list(zip(example.sources, colours, strict=True))
    if example.noise is not None:
        parts.append((example.noise, _NOISE_COLOUR))
        tracks.append(
            _Track(
                "Noise", "as it sounds in the mixture", _NOISE_COLOUR, _mp3_uri(example.noise, rate)
            )
        )
    max_hz = min(rate / 2, _SPECTROGRAM_MAX_HZ)
    ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, duration_s)
    return _ExampleView(
        id=example.id,
        split=example.split,
        duration_s=duration_s,
        spectrogram=_draw_spectrogram(example.mixture, parts, rate, max_hz),
        max_khz=max_hz / 1000,
        # A label at the very end would stick out.
        ticks_s=[tick for tick in ticks if tick <= 0.97 * duration_s],
        rows=rows,
        tracks=tracks,
    )


def _draw_spectrogram(
    mixture: Pcm, parts: Sequence[tuple[Pcm, str]], sample_rate: int, max_hz: float
) -> str:
    """Draws the mixture: the brightness is its level, the colour the part that dominates there."""
    dominant = np.argmax([_spectral_power(part, sample_rate, max_hz) for part, _ in parts], axis=0)
    power = _spectral_power(mixture, sample_rate, max_hz)
    floor = 10 ** (-_SPECTROGRAM_RANGE_DB / 10)
    level = 1 + 10 * np.log10(np.maximum(power / max(power.max(), 1.0), floor)) / (
        _SPECTROGRAM_RANGE_DB
    )
    # A palette takes one byte a pixel: each part has an equal share of the 256 colours.
    num_shades = 256 // len(parts)
    pixels = dominant * num_shades + np.round(level * (num_shades - 1)).astype(int)
    image = Image.fromarray(pixels[::-1].astype(np.uint8))
    image.putpalette(np.concatenate([_shades(colour, num_shades) for _, colour in parts]).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return _data_uri("image/png", file.getvalue())


def _spectral_power(audio: Pcm, sample_rate: int, max_hz: float) -> npt.NDArray[np.float64]:
    """Power in cells of the picture, `[frequencies, times]`, low frequencies first."""
    window = max(16, round(_SPECTROGRAM_WINDOW_S * sample_rate))
    samples = audio.astype(np.float64).T
    samples = np.pad(samples, [(0, 0), (window // 2, window // 2)])
    frequencies, _, power = scipy.signal.spectrogram(
        samples, sample_rate, "hann", nperseg=window, noverlap=window - window // 3, mode="psd"
    )
    cells: npt.NDArray[np.float64] = power.mean(axis=0)[frequencies <= max_hz]
    for axis, size in enumerate(_SPECTROGRAM_SHAPE):
        cells = _reduce(cells, axis, size)
    return cells


def _reduce(values: npt.NDArray[np.float64], axis: int, max_size: int) -> npt.NDArray[np.float64]:
    """Averages neighbours until an axis is no longer than `max_size`."""
    size = values.shape[axis]
    num = min(size, max_size)
    starts = np.arange(num) * size // num
    sums = np.add.reduceat(values, starts, axis=axis)
    counts = np.diff(np.r_[starts, size])
    means: npt.NDArray[np.float64] = sums / np.expand_dims(counts, 1 - axis)
    return means


def _shades(colour: str, num: int) -> npt.NDArray[np.uint8]:
    """A scale from the panel over the colour nearly to white, `[num, 3]`."""
    stops = np.array([_PANEL_COLOUR, tuple(bytes.fromhex(colour[1:])), (255, 255, 255)])
    position = np.linspace(0, 1, num) ** 1.1 * 1.3
    return np.stack(
        [np.interp(position, [0, 1, 2], channel) for channel in stops.T], axis=1
    ).astype(np.uint8)


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


def _draw_uses(histogram: Mapping[str, int]) -> str:
    """Draws how many were used so often; neighbouring numbers of uses share a bar if too many."""
    uses = np.array([int(key) for key in histogram])
    num = np.array(list(histogram.values()))
    first, last = (uses.min(), uses.max()) if len(uses) else (0, 0)
    step = -(-(last - first + 1) // _MAX_USE_BARS)
    # Around the integer, so that the bar stands over its number.
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
    # The names of groups repeat from chart to chart, and a page may have each only once.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for colour, css in _CSS_COLOURS.items():
        svg = svg.replace(colour, css)
    return svg


def _mp3_uri(audio: Pcm, sample_rate: int) -> str:
    # As floats, because libsndfile 1.2.2 garbles 16-bit stereo when it writes MP3.
    samples = audio.astype(np.float32) / 32768
    if samples.shape[1] > 2:
        samples = samples.mean(axis=1, keepdims=True)
    rate = next((rate for rate in _MP3_SAMPLE_RATES if rate >= sample_rate), _MP3_SAMPLE_RATES[-1])
    if rate != sample_rate:
        samples = soxr.resample(samples, sample_rate, rate)
    file = io.BytesIO()
    soundfile.write(
        file,
        samples,
        rate,
        format="MP3",
        bitrate_mode="VARIABLE",
        compression_level=_MP3_COMPRESSION,
    )
    return _data_uri("audio/mpeg", file.getvalue())


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def _format_hours(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.3g} min"
    return f"{hours:,.1f} h"


def _format_bytes(num_bytes: int) -> str:
    return EngFormatter("B", places=1)(num_bytes) if num_bytes else "0 B"


def _format_short(value: float) -> str:
    return f"{value:.3g}"


def _format_fixed(value: float, decimals: int) -> str:
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _summarise(histogram: Mapping[str, Any]) -> str:
    span = histogram["max"] - histogram["min"] or 1.0
    decimals = int(np.clip(1 - np.floor(np.log10(span)), 1, 3))
    mean, low, high = (_format_fixed(histogram[key], decimals) for key in ("mean", "min", "max"))
    return f"mean {mean}, from {low} to {high} {histogram['unit']}"

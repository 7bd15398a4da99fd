"""Examples in a report: what one sees and hears of a recording, in a page that needs nothing else.

`page.html` is what all reports have in common, and `examples.html` shows these.
"""

import base64
import concurrent.futures
import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import jinja2
import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile
import soxr
from matplotlib.ticker import EngFormatter, MaxNLocator
from PIL import Image

Pcm = npt.NDArray[np.int16]
T = TypeVar("T")

# Bright enough for the dark panel of an example, and apart from each other for the colour-blind.
_PANEL_COLOUR = (13, 17, 28)
SOURCE_COLOURS = ("#5cb3ff", "#ffb454", "#56d9a4", "#ff86b3", "#b9a2ff")
NOISE_COLOUR = "#98a3b8"

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


@dataclasses.dataclass(frozen=True, slots=True)
class Track:
    """One player.

    Attributes:
        name: what it plays.
        detail: what else there is to say of it.
        colour: of its dot; empty where it plays everything together.
        audio: an MP3 file, as a data URI.
    """

    name: str
    detail: str
    colour: str
    audio: str


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One line of the time line; all in seconds.

    Attributes:
        name: whose line it is.
        colour: in which it is drawn.
        placed: start and end of each utterance, where that is known.
        active: start and end of each stretch that is heard.
    """

    name: str
    colour: str
    placed: Sequence[tuple[float, float]]
    active: Sequence[tuple[float, float]]

    @property
    def label(self) -> str:
        """What it shows, in words."""
        shown = self.placed or self.active
        if not shown:
            return f"{self.name} is not heard"
        several = f", {len(self.placed)} utterances" if len(self.placed) > 1 else ""
        return f"{self.name}{several} from {shown[0][0]:.1f} s to {shown[-1][1]:.1f} s"


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """One spectrogram.

    Attributes:
        title: what it shows.
        colour: of the title; empty for the first picture, which is of everything and has none.
        image: a PNG file, as a data URI.
    """

    title: str
    colour: str
    image: str


@dataclasses.dataclass(frozen=True, slots=True)
class ExampleView:
    """A recording as it is shown.

    Attributes:
        title: its name.
        detail: what else the heading says.
        start_s: where in the recording that begins which is shown, in seconds.
        duration_s: how much is shown, in seconds.
        max_khz: the highest frequency that is shown.
        pictures: one above the other.
        rows: of the time line; their times are relative to `start_s`.
        tracks: what one can play.
    """

    title: str
    detail: str
    start_s: float
    duration_s: float
    max_khz: float
    pictures: Sequence[Picture]
    rows: Sequence[Row]
    tracks: Sequence[Track]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The position on the time line, from 0 to 1, of each time, and the time."""
        stop_s = self.start_s + self.duration_s
        times_s = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(self.start_s, stop_s)
        # A label at the very end would stick out.
        last_s = self.start_s + 0.97 * self.duration_s
        shown_s = [time_s for time_s in times_s if self.start_s <= time_s <= last_s]
        if stop_s > 100:
            labels = [f"{time_s // 60:.0f}:{time_s % 60:02.0f}" for time_s in shown_s]
        else:
            labels = [f"{time_s:.3g}" for time_s in shown_s]
            labels[-1] += " s"
        positions = [(time_s - self.start_s) / self.duration_s for time_s in shown_s]
        return list(zip(positions, labels, strict=True))


def render_page(template: str, **values: Any) -> str:
    """Renders a page that needs nothing beside it.

    Args:
        template: its name.
        values: what it shows.
    """
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
    }
    page = environment.get_template(template).render(values)
    # A file name that is not UTF-8 arrives with surrogates, which no file can hold.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def view_all(view: Callable[[T], ExampleView], examples: Iterable[T]) -> list[ExampleView]:
    """Makes views of examples, several at once."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # Encoding for the players takes most of the time, and lets go of the interpreter.
        return list(pool.map(view, examples))


def max_frequency_hz(sample_rate: int) -> float:
    """The highest frequency that a spectrogram shows."""
    return min(sample_rate / 2, _SPECTROGRAM_MAX_HZ)


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


def draw_spectrogram(mixture: Pcm, parts: Sequence[tuple[Pcm, str]], sample_rate: int) -> str:
    """Draws the mixture: the brightness is its level, the colour the part that dominates there.

    Args:
        mixture: `[samples, channels]`.
        parts: the same of each part, and its colour.
        sample_rate: in Hz.

    Returns:
        A PNG file, as a data URI.
    """
    max_hz = max_frequency_hz(sample_rate)
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


def mp3_uri(audio: Pcm, sample_rate: int) -> str:
    """Encodes `[samples, channels]` for a player, as a data URI."""
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

"""Examples in a report: what one sees and hears of a recording, in a page that needs nothing else.

`page.html` is what all reports have in common, and `listening.html` shows these.
"""

import concurrent.futures
import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import soundfile
import soxr
from matplotlib.ticker import MaxNLocator

from beam_jobs.audio.activity import FRAME_S, find_active, find_stretches, frame_levels_db
from beam_jobs.pages.page import data_uri
from schemas.pcm import Pcm, to_samples

T = TypeVar("T")
SOURCE_COLOURS = ("#5cb3ff", "#ffb454", "#56d9a4", "#ff86b3", "#b9a2ff")
NOISE_COLOUR = "#98a3b8"

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
class TimelineLane:
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
        lanes: of the time line; their times are relative to `start_s`.
        tracks: what one can play.
    """

    title: str
    detail: str
    start_s: float
    duration_s: float
    max_khz: float
    pictures: Sequence[Picture]
    lanes: Sequence[TimelineLane]
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


def view_all(view: Callable[[T], ExampleView], examples: Iterable[T]) -> list[ExampleView]:
    """Makes views of examples, several at once."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # Encoding for the players takes most of the time, and lets go of the interpreter.
        return list(pool.map(view, examples))


def active_stretches(source: Pcm, sample_rate: int) -> list[tuple[float, float]]:
    """Finds where a source is heard.

    Args:
        source: int16 `[samples, channels]`; it is as loud as its loudest channel.
        sample_rate: in Hz.

    Returns:
        Start and end of each stretch in seconds, ascending.
    """
    frame_length = max(1, round(FRAME_S * sample_rate))
    levels_db = frame_levels_db(to_samples(source.T), frame_length).max(axis=0, keepdims=True)
    frame_s = frame_length / sample_rate
    (active,) = find_active(levels_db)
    return [(start * frame_s, stop * frame_s) for start, stop in find_stretches(active)]


def mp3_uri(audio: Pcm, sample_rate: int) -> str:
    """Encodes `[samples, channels]` for a player, as a data URI."""
    # As floats, because libsndfile 1.2.2 garbles 16-bit stereo when it writes MP3.
    samples = to_samples(audio)
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
    return data_uri("audio/mpeg", file.getvalue())

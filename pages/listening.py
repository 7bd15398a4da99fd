"""Recordings in a report: spectrograms, a time line of who is heard, and players.

`listening.html` shows them, and everything that it needs is in the page itself.
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

from pages.page import data_uri
from schemas.pcm import Pcm, to_samples

T = TypeVar("T")
# Bright enough for the dark panel of an example, and distinct to the colour-blind.
SOURCE_COLOURS = (
    *("#5cb3ff", "#ffb454", "#56d9a4", "#ff86b3", "#b9a2ff"),
    *("#e4e36a", "#ff8a70", "#6fe3f2", "#d98cf0", "#b5e86a"),
)
NOISE_COLOUR = "#98a3b8"

_MP3_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# About 32 kbit/s for speech at 16 kHz.
_MP3_COMPRESSION = 0.7


@dataclasses.dataclass(frozen=True, slots=True)
class Track:
    """A signal that the page plays.

    Attributes:
        name: of the signal.
        detail: a second line about it.
        colour: of its dot; empty for all sources together.
        audio: the address of a file: that of one beside the page, or a data URI.
    """

    name: str
    detail: str
    colour: str
    audio: str


@dataclasses.dataclass(frozen=True, slots=True)
class TimelineLane:
    """A source on the time line; all times in seconds.

    Attributes:
        name: of the source.
        colour: of the lane.
        placed: start and end of each utterance, if they are known.
        active: start and end of each stretch in which the source is heard.
    """

    name: str
    colour: str
    placed: Sequence[tuple[float, float]]
    active: Sequence[tuple[float, float]]

    @property
    def label(self) -> str:
        """The lane in words, for those who can't see it."""
        shown = self.placed or self.active
        if not shown:
            return f"{self.name} is not heard"
        several = f", {len(self.placed)} utterances" if len(self.placed) > 1 else ""
        return f"{self.name}{several} from {shown[0][0]:.1f} s to {shown[-1][1]:.1f} s"


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A spectrogram.

    Attributes:
        title: the name of the signal.
        colour: of the title; empty for the first picture, of all sources, which shows no title.
        image: the address of a file: that of one beside the page, or a data URI.
    """

    title: str
    colour: str
    image: str


@dataclasses.dataclass(frozen=True, slots=True)
class ExampleView:
    """A recording, or an excerpt of one, as the page shows it.

    Attributes:
        title: the name of the recording.
        detail: the rest of the heading.
        start_s: the start of the excerpt in the recording, in seconds.
        duration_s: the length of the excerpt, in seconds.
        max_khz: the highest frequency of the pictures.
        pictures: from top to bottom.
        lanes: of the time line; their times are relative to `start_s`.
        tracks: in rows of players.
    """

    title: str
    detail: str
    start_s: float
    duration_s: float
    max_khz: float
    pictures: Sequence[Picture]
    lanes: Sequence[TimelineLane]
    tracks: Sequence[Sequence[Track]]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The labels of the time axis: the position of each, from 0 to 1, and its text."""
        stop_s = self.start_s + self.duration_s
        times_s = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(self.start_s, stop_s)
        # A label at the very end would stick out of the panel.
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
    """Makes the views of several examples at once."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # Most of the time goes into encoding for the players, which releases the interpreter lock.
        return list(pool.map(view, examples))


def mp3_uri(audio: Pcm, sample_rate: int) -> str:
    """Encodes int16 [samples, channels] for a player, as the data URI of an MP3 file."""
    # Floats, because libsndfile 1.2.2 garbles 16-bit stereo when it writes MP3.
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

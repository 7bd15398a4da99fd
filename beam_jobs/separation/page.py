"""The report of an archive job: a page that shows and plays a few of the separated recordings."""

import collections
import dataclasses
import datetime
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import soxr

from beam_jobs.audio.decoding import read_blocks, read_header, read_segment
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.separation.ledger import read_record
from beam_jobs.separation.summary import Doubtful, list_remarks
from beam_jobs.separation.turns import Turn, TurnFinder
from beam_jobs.storage import files
from pages.listening import (
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
from schemas.pcm import Pcm, to_pcm, to_samples

# The length of an excerpt, and how much of a recording is searched for it.
_SHOWN_S = 30
_SEARCHED_S = 600


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Excerpt:
    """The part of a recording in which the most is said.

    Attributes:
        name: of the recording.
        start_s: its beginning in the recording, in seconds.
        total_s: the length of the recording, in seconds.
        sample_rate: in Hz.
        recording: int16 [samples, 1].
        outputs: int16 [sources, samples, 1].
        turns: in the part of the recording that was searched, also those outside the excerpt, in
            seconds from the recording's start.
        num_voices: the number of people who speak in the recording; None if that is not known.
        more_voices: whether more people speak than the model has outputs.
        confidence: the probability that a second of speech is in the right output, 0 to 1; None
            if nobody speaks or the model's outputs never swap.
    """

    name: str
    start_s: float
    total_s: float
    sample_rate: int
    recording: Pcm
    outputs: Pcm
    turns: tuple[Turn, ...]
    num_voices: int | None
    more_voices: bool
    confidence: float | None

    @property
    def detail(self) -> str:
        """The excerpt and the voices of the recording in a few words."""
        duration_s = len(self.recording) / self.sample_rate
        parts = [f"{duration_s:.1f} s"]
        if duration_s < self.total_s:
            parts[0] += f" from {_format_time(self.start_s)} of {_format_time(self.total_s)}"
        if self.more_voices:
            parts.append("more voices than outputs")
        elif self.num_voices is not None:
            parts.append("1 speaker" if self.num_voices == 1 else f"{self.num_voices} speakers")
        if self.confidence is not None and self.num_voices != 1:
            parts.append(f"{self.confidence:.1%} certain that each voice stays in its output")
        return ", ".join(parts)

    def describe_output(self, speaker: str, output: Pcm) -> str:
        """Says how long a speaker speaks in the part that was searched, and how loud it is here."""
        speech_s = sum(turn.duration_s for turn in self.turns if turn.speaker == speaker)
        share = speech_s / min(self.total_s, _SEARCHED_S)
        return f"speaks {share:.0%} of the time, {_format_level(output)}"


def render_report(
    summary: Mapping[str, Any],
    excerpts: Sequence[Excerpt],
    rejected: Iterable[Rejected],
    *,
    doubtful: Sequence[Doubtful] = (),
    model: str,
    source_names: Sequence[str],
) -> str:
    """Renders `report.html`.

    Args:
        summary: the content of `summary.json`.
        excerpts: that the page shows and plays, in this order.
        rejected: the recordings that could not be separated.
        doubtful: the recordings to listen to first, in this order.
        model: the model's name.
        source_names: the names of the model's outputs.
    """
    return render_page(
        "separation.html",
        summary=summary,
        model=model,
        rejected=collections.Counter(one.reason for one in rejected).most_common(),
        remarks=list_remarks(summary),
        doubtful=doubtful,
        searched_min=_SEARCHED_S // 60,
        examples=view_all(functools.partial(_view, source_names=source_names), excerpts),
    )


def read_excerpt(output: str, relative_path: str, source_names: Sequence[str]) -> Excerpt:
    """Reads the excerpt of a separated recording, mixed down to one channel.

    Args:
        output: the folder of the archive.
        relative_path: the recording's place in the tree.
        source_names: the names of the outputs.

    Raises:
        UnusableAudioError: the recording or an output can no longer be read.
    """
    record = read_record(output, relative_path)
    paths = [files.join(output, one.path) for one in record.outputs]
    rate = read_header(paths[0]).sample_rate
    turns = _find_turns(paths, rate, source_names)
    start_s = _busiest_start(turns, record.duration_s)
    stop_s = min(start_s + _SHOWN_S, record.duration_s)
    signals = [_read_resampled(one, start_s, stop_s, rate) for one in (record.path, *paths)]
    # After resampling, lengths may differ by a sample.
    num_samples = min(map(len, signals))
    recording, *outputs = (signal[:num_samples, np.newaxis] for signal in signals)
    return Excerpt(
        name=relative_path,
        start_s=start_s,
        total_s=record.duration_s,
        sample_rate=rate,
        recording=recording,
        outputs=np.stack(outputs),
        turns=tuple(turns),
        num_voices=record.num_voices,
        more_voices=record.has_more_voices,
        confidence=record.confidence,
    )


def _find_turns(paths: Sequence[str], sample_rate: int, source_names: Sequence[str]) -> list[Turn]:
    """Finds the turns in the part of the outputs that is searched."""
    finder = TurnFinder(sample_rate)
    outputs = [read_blocks(path, sample_rate) for path in paths]
    for blocks in itertools.islice(zip(*outputs, strict=True), _SEARCHED_S):
        finder.add(np.stack([block.mean(axis=1) for block in blocks]))
    return finder.find_turns(source_names)


def _busiest_start(turns: Sequence[Turn], duration_s: float) -> float:
    """Finds the whole second at which to start the excerpt with the most speech."""
    starts_s = np.arange(max(1, int(min(duration_s, _SEARCHED_S)) - _SHOWN_S + 1))
    speech_s = np.zeros(len(starts_s))
    for turn in turns:
        end_s = np.minimum(turn.onset_s + turn.duration_s, starts_s + _SHOWN_S)
        speech_s += np.maximum(end_s - np.maximum(turn.onset_s, starts_s), 0)
    return float(starts_s[np.argmax(speech_s)])


def _read_resampled(path: str, start_s: float, stop_s: float, sample_rate: int) -> Pcm:
    """Reads a part of a file as int16 [samples] at a given sample rate."""
    rate = read_header(path).sample_rate
    samples = read_segment(path, round(start_s * rate), round(stop_s * rate))
    resampled = soxr.resample(samples, rate, sample_rate)
    return to_pcm(resampled)


def _view(excerpt: Excerpt, source_names: Sequence[str]) -> ExampleView:
    rate = excerpt.sample_rate
    duration_s = len(excerpt.recording) / rate
    outputs = list(zip(source_names, excerpt.outputs, itertools.cycle(SOURCE_COLOURS)))
    parts = [(output, colour) for _, output, colour in outputs]
    whole, *single = draw_spectrograms(
        [(excerpt.recording, parts), *((output, [(output, colour)]) for output, colour in parts)],
        rate,
    )
    return ExampleView(
        title=excerpt.name,
        detail=excerpt.detail,
        start_s=excerpt.start_s,
        duration_s=duration_s,
        max_khz=max_frequency_hz(rate) / 1000,
        pictures=[
            Picture("recording", "", data_uri("image/png", whole)),
            *(
                Picture(name, colour, data_uri("image/png", picture))
                for (name, _, colour), picture in zip(outputs, single, strict=True)
            ),
        ],
        lanes=[
            TimelineLane(name, colour, (), list(_find_stretches(excerpt, name, duration_s)))
            for name, _, colour in outputs
        ],
        tracks=[
            [
                Track(
                    "Recording",
                    f"as it came in, {_format_level(excerpt.recording)}",
                    "",
                    mp3_uri(excerpt.recording, rate),
                ),
                *(
                    Track(
                        name, excerpt.describe_output(name, output), colour, mp3_uri(output, rate)
                    )
                    for name, output, colour in outputs
                ),
            ]
        ],
    )


def _find_stretches(
    excerpt: Excerpt, name: str, duration_s: float
) -> Iterator[tuple[float, float]]:
    """Yields the start and the end of each turn of a speaker, in seconds of the excerpt."""
    for turn in excerpt.turns:
        start_s = max(turn.onset_s - excerpt.start_s, 0.0)
        stop_s = min(turn.onset_s + turn.duration_s - excerpt.start_s, duration_s)
        if turn.speaker == name and start_s < stop_s:
            yield start_s, stop_s


def _format_level(signal: Pcm) -> str:
    """Returns the level of int16 samples over all of them, in words."""
    power = float(np.mean(np.square(to_samples(signal))))
    return f"level {format_fixed(10 * np.log10(power), 0)} dBFS" if power else "silent"


def _format_time(time_s: float) -> str:
    return str(datetime.timedelta(seconds=round(time_s)))

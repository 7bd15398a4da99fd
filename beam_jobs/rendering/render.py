"""Rendering a recipe: decode, resample, reverberate, scale, place, quantise, and transmit."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.rendering.levels import check_level, noise_gain_db, source_gain_db
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.placing import Stretch, join, join_in_time, place
from beam_jobs.rendering.quantising import (
    common_gain,
    quantise_dry,
    quantise_enrolments,
    quantise_given,
    quantise_sums,
)
from beam_jobs.rendering.rooms import Response, Reverberated, reverberate
from beam_jobs.rendering.scratch import Scratch
from beam_jobs.rendering.signals import Signal, peak, rms_level_dbfs
from beam_jobs.rendering.transmission import transmit
from schemas.pcm import FULL_SCALE, Pcm, Samples
from schemas.recipe import Noise, NoiseEvent, Part, Recipe, Room, SimulatedRoom, Source
from schemas.tfrecord import encode_example

# Half an hour of two sources at 16 kHz: a longer mixture would not fit into a worker's memory, and
# a header with a wrong length is more likely than such an utterance.
MAX_SAMPLES = 1 << 26


class UnusablePartError(Exception):
    """The file of a source, of a noise, of a room or of the given mixture can't be used.

    Attributes:
        index: of the part in the recipe's `parts`.
        part: that part.
        reason: why its file can't be used.
    """

    def __init__(self, index: int, part: Part, reason: str) -> None:
        super().__init__(index, part, reason)
        self.index = index
        self.part = part
        self.reason = reason


@dataclasses.dataclass(frozen=True, slots=True)
class HeardNoise:
    """One of the noises of a mixture, by its level there.

    Attributes:
        part: the noise in the recipe.
        snr_db: the power of the sum of the sources over that of this noise, as `Noise` and
            `NoiseEvent` define it; not finite where one of them is silent.
        loudness_lufs: of this noise, before the common gain; NaN if the recipe does not ask for it.
    """

    part: Noise | NoiseEvent
    snr_db: float
    loudness_lufs: float


@dataclasses.dataclass(frozen=True, slots=True)
class RenderedMixture:
    """A rendered recipe. Stereo audio has another dimension at its end.

    Attributes:
        recipe: what was rendered, with the common gain that it took.
        mixture: int16 [samples], the sum of the sources and the noise to the last bit, and that of
            the exact ones rounded; a given mixture as it is.
        sources: int16 [sources, samples], each as it sounds in the mixture, and within one step of
            the exact one; all utterances of a speaker are in one.
        noise: int16 [samples], as it sounds in the mixture, or None.
        gains_db: all that was applied to the samples of each source's file, except by its room.
        levels_dbfs: the RMS level of each source where it is placed; minus infinity where there is
            nothing of it. Like the gains, one for all utterances of a speaker.
        dry_sources: int16 [sources, samples], what of each source came straight to the microphone,
            or None without rooms.
        rooms: how each source sounded in its room; None for a source without one.
        degraded: int16 [samples], the mixture after its transmission, or None.
        noises: the levels of the noise under the whole mixture and of each event, where a recipe
            has events; else empty.
        enrolments: int16 [sources, enrolment samples], another utterance of each speaker, with
            silence after it if it is too short; or None.
    """

    recipe: Recipe
    mixture: Pcm
    sources: Pcm
    noise: Pcm | None
    gains_db: tuple[float, ...]
    levels_dbfs: tuple[float, ...]
    dry_sources: Pcm | None
    rooms: tuple[Reverberated | None, ...]
    degraded: Pcm | None
    noises: tuple[HeardNoise, ...] = ()
    enrolments: Pcm | None = None


def render(recipe: Recipe, reader: PartReader, scratch: Scratch) -> RenderedMixture:
    """Renders a recipe.

    Args:
        recipe: what to render.
        reader: of the files.
        scratch: has the audio of the result, until the next call with it.

    Raises:
        UnusablePartError: a file can't be read, or has no sound in it.
    """
    _check_length(recipe)
    num_rows = len(recipe.rows)
    num_parts = num_rows + recipe.has_noise
    # All audio here is float32 in steps of 16-bit PCM. The noise is the last part.
    parts = scratch.array("parts", (num_parts, *recipe.audio_shape), np.float32)
    dry = None
    if recipe.has_rooms:
        dry = scratch.array("dry", (num_rows, recipe.num_samples), np.float32)
    gains_db, levels_dbfs, peaks, rooms = [], [], [], []
    for row, voice in enumerate(_read_voices(recipe, reader)):
        peaks.append(place(parts[row], voice.heard, voice.gain_db))
        if dry is not None:
            peaks.append(place(dry[row], voice.direct, voice.gain_db))
        gains_db.append(voice.gain_db)
        levels_dbfs.append(voice.level_dbfs)
        rooms.append(voice.room)
    given = None if recipe.mixture is None else _place_given_mixture(recipe, reader)

    # Sums are rounded rather than parts, so that the rounded parts add up to the rounded mixture.
    for index in range(1, num_rows):
        np.add(parts[index], parts[index - 1], out=parts[index])
    noises: list[HeardNoise] = []
    if recipe.has_noise:
        highest, noises = _place_noises(parts[-1], parts[-2], recipe, reader)
        peaks.append(highest)
        np.add(parts[-1], parts[-2], out=parts[-1])
    peaks.append(peak(parts[-1] if given is None else given))

    gain = common_gain(max(peaks), is_given=given is not None)
    if given is None:
        parts_pcm, mixture_pcm = quantise_sums(parts, gain, scratch)
    else:
        parts_pcm, mixture_pcm = quantise_given(parts, given, gain, scratch)
    common_gain_db = round(20 * math.log10(gain), 6)
    return RenderedMixture(
        recipe=dataclasses.replace(recipe, common_gain_db=common_gain_db),
        mixture=mixture_pcm,
        sources=parts_pcm[:num_rows],
        noise=parts_pcm[-1] if recipe.has_noise else None,
        gains_db=tuple(gain_db + common_gain_db for gain_db in gains_db),
        levels_dbfs=tuple(level_dbfs + common_gain_db for level_dbfs in levels_dbfs),
        dry_sources=None if dry is None else quantise_dry(dry, gain, scratch),
        rooms=tuple(rooms),
        degraded=(
            None
            if recipe.transmission is None
            else transmit(mixture_pcm, recipe.transmission, recipe.sample_rate)
        ),
        noises=tuple(noises),
        enrolments=_render_enrolments(recipe, reader, scratch),
    )


def encode_mixture(mixture: RenderedMixture) -> bytes:
    """Encodes a mixture as the record that `schemas.dataset.features_document` describes."""
    recipe = mixture.recipe
    num_silent = (recipe.num_rows or len(recipe.rows)) - len(recipe.rows)
    by_row = {
        "sources": mixture.sources,
        "dry_sources": mixture.dry_sources,
        "enrolments": mixture.enrolments,
    }
    audio = {
        name: _add_silent_rows(rows, num_silent) if num_silent else rows
        for name, rows in by_row.items()
        if rows is not None
    }
    optional = {"noise": mixture.noise, "degraded": mixture.degraded}
    audio |= {name: samples for name, samples in optional.items() if samples is not None}
    return encode_example(
        {name: samples.data.cast("B") for name, samples in audio.items()}
        | {
            "id": recipe.id.encode(),
            "mixture": mixture.mixture.data.cast("B"),
            "sample_rate": [recipe.sample_rate],
            "speakers": [*(row[0].speaker.encode() for row in recipe.rows), *[b""] * num_silent],
            "offsets_s": [*recipe.offsets_s, *[0.0] * num_silent],
            "gains_db": [*mixture.gains_db, *[0.0] * num_silent],
            "recipe": recipe.to_json().encode(),
        }
    )


def _add_silent_rows(sources: Pcm, count: int) -> Pcm:
    """Returns int16 [sources + count, samples, ...], with silence after the sources."""
    return np.concatenate([sources, np.zeros((count, *sources.shape[1:]), np.int16)])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Voice:
    """Everything that one speaker says in a mixture, before it is placed.

    Attributes:
        heard: as it sounds in the mixture.
        direct: what of it comes straight to the microphone; the same where there is no room.
        gain_db: that gives it its level.
        level_dbfs: the RMS level with that gain.
        room: how it sounded in its room, or None.
    """

    heard: Sequence[Stretch]
    direct: Sequence[Stretch]
    gain_db: float
    level_dbfs: float
    room: Reverberated | None


def _check_length(recipe: Recipe) -> None:
    for index, source in enumerate(recipe.sources):
        if source.duration_s * recipe.sample_rate * len(recipe.rows) > MAX_SAMPLES:
            reason = "too long for a mixture: cut it into utterances, or give --length"
            raise UnusablePartError(index, source, reason)


def _read_voices(recipe: Recipe, reader: PartReader) -> Iterator[_Voice]:
    """Yields the voice of each row of sources.

    Raises:
        UnusablePartError: a file can't be read, or has no sound in it.
    """
    first_index = 0
    for sources in recipe.rows:
        yield _read_voice(sources, first_index, recipe, reader)
        first_index += len(sources)


def _read_voice(
    sources: Sequence[Source], first_index: int, recipe: Recipe, reader: PartReader
) -> _Voice:
    heard = direct = _read_utterances(sources, first_index, recipe, reader)
    # All utterances are scaled together: what a speaker says keeps its own ups and downs.
    speech = join([signal for _, signal in heard])
    room = None
    if sources[0].room is not None and len(speech):
        start, dry_speech = join_in_time(heard)
        room = reverberate(dry_speech, _read_room(sources[0].room, recipe, reader))
        # The level is that of the utterances; the tails after them do not count.
        speech = join(
            [
                Signal(room.heard[at - start :][: len(signal)], recipe.sample_rate)
                for at, signal in heard
                if len(signal)
            ]
        )
        heard = [(start, Signal(room.heard, recipe.sample_rate))]
        direct = [(start, Signal(room.direct, recipe.sample_rate))]
    with _blamed_on(sources[0], recipe, first_index):
        # A stem of a given mixture may be silent: a song has bars without drums.
        may_be_silent = recipe.mixture is not None
        gain_db = source_gain_db(sources[0], speech, may_be_silent=may_be_silent)
    return _Voice(heard, direct, gain_db, speech.level_dbfs + gain_db, room)


def _read_utterances(
    sources: Sequence[Source], first_index: int, recipe: Recipe, reader: PartReader
) -> list[Stretch]:
    stretches = []
    for index, source in enumerate(sources, first_index):
        with _blamed_on(source, recipe, index):
            signal = reader.read(source, recipe)
            # Measuring takes time, and the level of a lone utterance is checked with its gain.
            if len(sources) > 1 and len(signal):
                check_level(signal.level_dbfs)
        stretches.append((round(source.offset_s * recipe.sample_rate), signal))
    return stretches


def _read_room(room: Room, recipe: Recipe, reader: PartReader) -> Response:
    # Has no file that could be at fault.
    if isinstance(room, SimulatedRoom):
        return reader.read_response(room, recipe)
    with _blamed_on(room, recipe):
        return reader.read_response(room, recipe)


def _place_given_mixture(recipe: Recipe, reader: PartReader) -> Samples:
    assert recipe.mixture is not None
    with _blamed_on(recipe.mixture, recipe):
        signal = reader.read(recipe.mixture, recipe)
    given = np.empty(recipe.audio_shape, np.float32)
    place(given, [(0, signal)], 0.0)
    return given


def _place_noises(
    part: Samples, speech: Samples, recipe: Recipe, reader: PartReader
) -> tuple[float, list[HeardNoise]]:
    """Writes all noises into their part, each at its level relative to the speech.

    Returns:
        The peak of the part, and where there are events, the level of each noise.
    """
    highest, noises = 0.0, []
    if recipe.noise is None:
        part[:] = 0
    else:
        with _blamed_on(recipe.noise, recipe):
            signal = reader.read_noise(recipe.noise, recipe)
            gain_db = noise_gain_db(recipe.noise, signal, speech)
        highest = place(part, [(0, signal)], gain_db)
        if recipe.noise_events is not None:
            noises.append(_hear(recipe.noise, part, signal, gain_db, speech))
    for event in recipe.noise_events or ():
        with _blamed_on(event, recipe):
            start = round(event.offset_s * recipe.sample_rate)
            whole = reader.read_event(event, recipe)
            signal = Signal(whole.samples[: len(part) - start], recipe.sample_rate)
            # At a lower rate than it was drawn for, an event may begin behind the last sample.
            if not len(signal):
                continue
            gain_db = noise_gain_db(event, signal, speech)
        placed = signal.samples * np.float32(FULL_SCALE * 10 ** (gain_db / 20))
        part[start : start + len(placed)] += placed
        noises.append(_hear(event, placed, signal, gain_db, speech))
    return peak(part) if recipe.noise_events else highest, noises


def _hear(
    part: Noise | NoiseEvent, placed: Samples, signal: Signal, gain_db: float, speech: Samples
) -> HeardNoise:
    """Measures a noise as it is placed; its loudness has been measured for its gain already."""
    asked_loudness = part.level_kind == "loudness_lufs"
    return HeardNoise(
        part,
        snr_db=rms_level_dbfs(speech) - rms_level_dbfs(placed),
        loudness_lufs=signal.loudness_lufs + gain_db if asked_loudness else math.nan,
    )


def _render_enrolments(recipe: Recipe, reader: PartReader, scratch: Scratch) -> Pcm | None:
    if recipe.enrolments is None:
        return None
    enrolments = scratch.array("enrolments", recipe.enrolments_shape, np.float32)
    peaks = []
    for enrolment, samples in zip(recipe.enrolments, enrolments, strict=True):
        with _blamed_on(enrolment, recipe):
            signal = reader.read(enrolment, recipe)
            gain_db = source_gain_db(enrolment, signal)
        peaks.append(place(samples, [(0, signal)], gain_db))
    return quantise_enrolments(enrolments, peaks, scratch)


@contextlib.contextmanager
def _blamed_on(part: Part, recipe: Recipe, index: int | None = None) -> Iterator[None]:
    """Turns unusable audio into an error that names the part of the recipe.

    Raises:
        UnusablePartError: the block found audio that can't be used.
    """
    try:
        yield
    except UnusableAudioError as error:
        at = recipe.parts.index(part) if index is None else index
        raise UnusablePartError(at, part, str(error)) from None

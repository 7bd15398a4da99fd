"""Rendering: a recipe becomes audio."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.rendering.loudness import integrated_loudness_lufs
from beam_jobs.rendering.rooms import Response, Reverberated, read_response, reverberate
from beam_jobs.storage import files
from schemas.pcm import FULL_SCALE, MAX_PCM, MIN_PCM, Pcm, Samples
from schemas.recipe import GivenMixture, Noise, Part, Recipe, RecordedRoom, Room, Source
from schemas.tfrecord import encode_example

_Scalar = TypeVar("_Scalar", bound=np.generic)

# What a 16-bit file can just hold is no speech.
_SILENCE_DBFS = -90.0
# Louder than 16-bit samples that a float file holds unscaled.
_ABSURD_DBFS = 120.0
# Half an hour of two sources at 16 kHz: a longer mixture would not fit into a worker's memory, and
# what is more likely than such an utterance is a header that promises it.
_MAX_SAMPLES = 1 << 26


class UnusableSourceError(Exception):
    """The file of a source, of the noise, of a room or of the given mixture can't be used.

    Attributes:
        index: which of the recipe's parts.
        source: that part.
        reason: why.
    """

    def __init__(self, index: int, source: Part, reason: str) -> None:
        super().__init__(index, source, reason)
        self.index = index
        self.source = source
        self.reason = reason


class Scratch:
    """Memory that is used again for each mixture."""

    def __init__(self) -> None:
        self._buffers: dict[str, npt.NDArray[np.uint8]] = {}

    def array(
        self, name: str, shape: tuple[int, ...], dtype: type[_Scalar]
    ) -> npt.NDArray[_Scalar]:
        """An array with anything in it, valid until the same name is asked for again."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size + size // 4, np.uint8)
        return np.ndarray(shape, dtype, buffer)


@dataclasses.dataclass(frozen=True, slots=True)
class Mixture:
    """A rendered recipe.

    Attributes:
        recipe: what was rendered, with the common gain that it took.
        mixture: int16 [samples], the sum of the sources and the noise to the last bit, and that of
            the exact ones rounded; a given one as it is. All audio has another dimension at its
            end where there are several channels.
        sources: int16 [sources, samples], each as it sounds in the mixture, and within one step of
            the exact one; where a speaker has several utterances, all of them in one.
        noise: int16 [samples], likewise, or None.
        gains_db: all that was applied to the samples of each source's file, but for its room.
        levels_dbfs: the RMS level of each source where it is placed; minus infinity where there is
            nothing of it. Like the gains, one for all utterances of a speaker.
        dry_sources: int16 [sources, samples], what of each source came straight to the microphone,
            or None where there are no rooms.
        rooms: how each source sounded in its room; None for a source without one.
    """

    recipe: Recipe
    mixture: Pcm
    sources: Pcm
    noise: Pcm | None
    gains_db: tuple[float, ...]
    levels_dbfs: tuple[float, ...]
    dry_sources: Pcm | None
    rooms: tuple[Reverberated | None, ...]


def render(recipe: Recipe, corpus_roots: Mapping[str, str], scratch: Scratch) -> Mixture:
    """Renders a recipe: decodes, resamples, reverberates, scales, places, quantises.

    Args:
        recipe: what to render.
        corpus_roots: the folder of each corpus, by its name.
        scratch: where the audio of the result is, until the next call with it.

    Raises:
        UnusableSourceError: a file can't be read, or has no sound in it.
    """
    _check_length(recipe)
    num_rows = len(recipe.rows)
    num_parts = num_rows + (recipe.noise is not None)
    shape = (num_parts, *recipe.audio_shape)
    # All audio below is float32 in steps of 16-bit PCM. The noise is the last part.
    parts = scratch.array("parts", shape, np.float32)
    dry = None
    if recipe.has_rooms:
        dry = scratch.array("dry", (num_rows, recipe.num_samples), np.float32)
    gains_db, levels_dbfs, peaks, rooms = [], [], [], []
    num_read = 0
    for row, sources in enumerate(recipe.rows):
        heard = direct = _read_row(sources, num_read, recipe, corpus_roots)
        # What a speaker says in a conversation keeps its own ups and downs.
        speech = _joined([samples for _, samples in heard])
        room = None
        if sources[0].room is not None and len(speech):
            start, line = _time_line(heard)
            room = reverberate(line, _read_room(sources[0].room, recipe, corpus_roots))
            speech = _joined(
                [room.heard[at - start :][: len(samples)] for at, samples in heard if len(samples)]
            )
            heard, direct = [(start, room.heard)], [(start, room.direct)]
        level_dbfs = _level_dbfs(speech)
        try:
            gains_db.append(_gain_db(sources[0], speech, level_dbfs, recipe))
        except UnusableAudioError as error:
            raise UnusableSourceError(num_read, sources[0], str(error)) from None
        peaks.append(_put(parts[row], heard, gains_db[-1]))
        if dry is not None:
            peaks.append(_put(dry[row], direct, gains_db[-1]))
        rooms.append(room)
        levels_dbfs.append(level_dbfs + gains_db[-1])
        num_read += len(sources)
    given = None if recipe.mixture is None else _given_mixture(recipe, corpus_roots)

    # Each part is rounded so that the sums of the parts before it are: so the whole sum is exact.
    for index in range(1, num_rows):
        np.add(parts[index], parts[index - 1], out=parts[index])
    if recipe.noise is not None:
        peaks.append(_put_noise(parts[-1], parts[-2], recipe.noise, recipe, corpus_roots))
        np.add(parts[-1], parts[-2], out=parts[-1])
    peak = max(_peak(parts[-1] if given is None else given), *peaks)
    common_gain = _common_gain(peak, is_given=given is not None)
    pcm, mixture_pcm = _quantise(parts, given, common_gain, scratch)
    dry_pcm = None
    if dry is not None:
        np.multiply(dry, np.float32(common_gain), out=dry)
        dry_pcm = scratch.array("dry_pcm", dry.shape, np.int16)
        np.copyto(dry_pcm, np.rint(dry, out=dry), casting="unsafe")
    common_gain_db = round(20 * math.log10(common_gain), 6)
    return Mixture(
        recipe=dataclasses.replace(recipe, common_gain_db=common_gain_db),
        mixture=mixture_pcm,
        sources=pcm[:num_rows],
        noise=None if recipe.noise is None else pcm[-1],
        gains_db=tuple(gain_db + common_gain_db for gain_db in gains_db),
        levels_dbfs=tuple(level_dbfs + common_gain_db for level_dbfs in levels_dbfs),
        dry_sources=dry_pcm,
        rooms=tuple(rooms),
    )


def encode_mixture(mixture: Mixture) -> bytes:
    """The record of a mixture, as `schemas.dataset.features_document` describes it."""
    recipe = mixture.recipe
    optional = {"noise": mixture.noise, "dry_sources": mixture.dry_sources}
    return encode_example(
        {name: audio.data.cast("B") for name, audio in optional.items() if audio is not None}
        | {
            "id": recipe.id.encode(),
            "mixture": mixture.mixture.data.cast("B"),
            "sources": mixture.sources.data.cast("B"),
            "sample_rate": [recipe.sample_rate],
            "speakers": [sources[0].speaker.encode() for sources in recipe.rows],
            "offsets_s": recipe.offsets_s,
            "gains_db": mixture.gains_db,
            "recipe": recipe.to_json().encode(),
        }
    )


def _check_length(recipe: Recipe) -> None:
    for index, source in enumerate(recipe.sources):
        if source.duration_s * recipe.sample_rate * len(recipe.rows) > _MAX_SAMPLES:
            reason = "too long for a mixture: cut it into utterances, or give --length"
            raise UnusableSourceError(index, source, reason)


def _read_row(
    sources: Sequence[Source], first_index: int, recipe: Recipe, corpus_roots: Mapping[str, str]
) -> list[tuple[int, Samples]]:
    """The sample of the mixture where each utterance of a row starts, and what is in it.

    Raises:
        UnusableSourceError: a file can't be read, or has no sound in it.
    """
    stretches = []
    for index, source in enumerate(sources, first_index):
        try:
            samples = _read_file(source, recipe, corpus_roots)
            # The level of all together is looked at later, and takes its time.
            if len(sources) > 1 and len(samples):
                _check_level(_level_dbfs(samples))
        except UnusableAudioError as error:
            raise UnusableSourceError(index, source, str(error)) from None
        stretches.append((round(source.offset_s * recipe.sample_rate), samples))
    return stretches


def _joined(stretches: Sequence[Samples]) -> Samples:
    if len(stretches) == 1:
        return stretches[0]
    joined: Samples = np.concatenate(stretches)
    return joined


def _time_line(stretches: Sequence[tuple[int, Samples]]) -> tuple[int, Samples]:
    """Where the first of some stretches starts, and all of them with silence in between."""
    heard = [(start, samples) for start, samples in stretches if len(samples)]
    if len(heard) == 1:
        return heard[0]
    first = heard[0][0]
    line = np.zeros(max(start + len(samples) for start, samples in heard) - first, np.float32)
    for start, samples in heard:
        line[start - first :][: len(samples)] = samples
    return first, line


def _read_room(room: Room, recipe: Recipe, corpus_roots: Mapping[str, str]) -> Response:
    """The response of a room.

    Raises:
        UnusableSourceError: its file can't be used.
    """
    try:
        return read_response(room, corpus_roots, recipe.sample_rate, recipe.channels)
    except UnusableAudioError as error:
        # A simulated room has no file that could be at fault.
        assert isinstance(room, RecordedRoom)
        raise UnusableSourceError(recipe.parts.index(room), room, str(error)) from None


def _read_file(
    part: Source | GivenMixture, recipe: Recipe, corpus_roots: Mapping[str, str]
) -> Samples:
    path = files.join(corpus_roots[part.corpus], part.path)
    samples = read_segment(path, part.start, part.stop, recipe.channels)
    return _resample(samples, part.played_rate, recipe)


def _read_noise(noise: Noise, recipe: Recipe, corpus_roots: Mapping[str, str]) -> Samples:
    path = files.join(corpus_roots[noise.corpus], noise.path)
    samples = read_segment(path, noise.start, noise.stop, recipe.channels)
    extended = extend_noise(samples, noise.num_frames, noise.file_sample_rate)
    return _resample(extended, noise.file_sample_rate, recipe)


def _given_mixture(recipe: Recipe, corpus_roots: Mapping[str, str]) -> Samples:
    assert recipe.mixture is not None
    try:
        samples = _read_file(recipe.mixture, recipe, corpus_roots)
    except UnusableAudioError as error:
        index = recipe.parts.index(recipe.mixture)
        raise UnusableSourceError(index, recipe.mixture, str(error)) from None
    given = np.empty(recipe.audio_shape, np.float32)
    _put(given, [(0, samples)], 0.0)
    return given


def _put_noise(
    part: Samples, speech: Samples, noise: Noise, recipe: Recipe, corpus_roots: Mapping[str, str]
) -> float:
    """Writes a noise into its part, at its level under the speech, and returns its peak.

    Raises:
        UnusableSourceError: the file can't be used.
    """
    try:
        samples = _read_noise(noise, recipe, corpus_roots)
        gain_db = _noise_gain_db(noise, samples, speech, recipe.sample_rate)
    except UnusableAudioError as error:
        raise UnusableSourceError(recipe.parts.index(noise), noise, str(error)) from None
    return _put(part, [(0, samples)], gain_db)


def extend_noise(samples: Samples, num_frames: int, sample_rate: int) -> Samples:
    """Repeats a noise until it is long enough, each time faded into the next over half a second.

    This is how LibriMix extends the noise of WHAM! (Cosentino et al., 2020).

    Args:
        samples: float32 [samples] or [samples, channels].
        num_frames: how long the result is.
        sample_rate: in Hz.

    Raises:
        UnusableAudioError: the noise is too short to be faded.
    """
    if len(samples) >= num_frames:
        return samples[:num_frames]
    overlap = sample_rate // 2 + 1
    if len(samples) <= 2 * overlap:
        raise UnusableAudioError("a noise of a second or less, too short to be repeated")
    fade_in = np.hanning(sample_rate + 1)[:overlap].reshape(-1, *[1] * (samples.ndim - 1))
    joint = samples[-overlap:] * fade_in[::-1] + samples[:overlap] * fade_in
    period = np.concatenate([joint, samples[overlap:-overlap]], dtype=np.float32)
    num_periods = -(-(num_frames - len(samples)) // len(period))
    extended: Samples = np.concatenate(
        [samples[:-overlap], *[period] * num_periods, samples[-overlap:]]
    )
    return extended[:num_frames]


def _resample(samples: Samples, played_rate: float, recipe: Recipe) -> Samples:
    if played_rate == recipe.sample_rate:
        return samples
    if recipe.resampler == "resample_poly":
        # SciPy's signals take a while to import, and few recipes ask for them.
        from scipy.signal import resample_poly  # noqa: PLC0415

        resampled: Samples = resample_poly(samples, recipe.sample_rate, round(played_rate))
    else:
        resampled = soxr.resample(samples, played_rate, recipe.sample_rate)
    return resampled


def _put(part: Samples, segments: Iterable[tuple[int, Samples]], gain_db: float) -> float:
    """Writes scaled samples into a part, with silence around them, and returns their peak.

    Args:
        part: float32 [samples].
        segments: the start of each stretch, and what is in it; ascending.
        gain_db: of all of them.
    """
    gain = np.float32(FULL_SCALE * 10 ** (gain_db / 20))
    end, peak = 0, 0.0
    for start, samples in segments:
        part[end:start] = 0
        # At another rate than it was drawn for, a stretch may begin in the last sample of another.
        stop = min(start + len(samples), len(part))
        placed = np.multiply(samples[: stop - start], gain, out=part[start:stop])
        end, peak = max(end, stop), max(peak, _peak(placed))
    part[end:] = 0
    return peak


def _level_dbfs(samples: Samples) -> float:
    power = float(np.vdot(samples, samples)) / max(samples.size, 1)
    return 10 * math.log10(power) if power else -math.inf


def _check_level(level_dbfs: float, *, may_be_silent: bool = False) -> None:
    """Tells sound from what is none.

    Raises:
        UnusableAudioError: there is nothing but silence, or more than any sound has.
    """
    # A stem of a given mixture may well be silent: a song has bars without drums.
    if level_dbfs < _SILENCE_DBFS and not may_be_silent:
        raise UnusableAudioError("silence")
    if level_dbfs > _ABSURD_DBFS:
        raise UnusableAudioError("samples far beyond full scale")


def _gain_db(source: Source, samples: Samples, level_dbfs: float, recipe: Recipe) -> float:
    """The gain that gives a source its level.

    Raises:
        UnusableAudioError: there is no sound in it, or it is too quiet to tell.
    """
    if not len(samples):
        return 0.0
    _check_level(level_dbfs, may_be_silent=recipe.mixture is not None)
    if source.level_kind == "gain_db":
        return source.level
    if source.level_kind == "rms_dbfs":
        return source.level - level_dbfs
    return source.level - _loudness_lufs(samples, recipe.sample_rate)


def _noise_gain_db(noise: Noise, samples: Samples, speech: Samples, sample_rate: int) -> float:
    """The gain that gives a noise its level.

    The signal-to-noise ratio is that of the power of the sum of the sources, the pauses included,
    to that of the noise, both over the whole mixture, as in torchaudio's `add_noise`.

    Args:
        noise: whose level is asked for.
        samples: float32 [samples], of the noise.
        speech: float32 [samples], the sum of the sources in steps of 16-bit PCM.
        sample_rate: in Hz.

    Raises:
        UnusableAudioError: there is nothing but silence where a level is asked for.
    """
    if noise.level_kind == "gain_db":
        return noise.level
    level_dbfs = _level_dbfs(samples[: len(speech)])
    _check_level(level_dbfs)
    if noise.level_kind == "loudness_lufs":
        return noise.level - _loudness_lufs(samples, sample_rate)
    speech_dbfs = _level_dbfs(speech) - 20 * math.log10(FULL_SCALE)
    # Against no speech there is no ratio, and the noise stays as it is.
    return speech_dbfs - noise.level - level_dbfs if math.isfinite(speech_dbfs) else 0.0


def _loudness_lufs(samples: Samples, sample_rate: int) -> float:
    loudness_lufs = integrated_loudness_lufs(samples, sample_rate)
    if math.isinf(loudness_lufs):
        raise UnusableAudioError("too quiet for its loudness to be measured")
    return loudness_lufs


def _peak(samples: Samples) -> float:
    return float(max(samples.max(initial=0), -samples.min(initial=0)))


def _common_gain(peak: float, *, is_given: bool) -> float:
    """The factor, 1 or less, with which neither the mixture nor a source clips."""
    # A given mixture may well be at full scale, and stays as it is if 16 bits can hold it.
    if not peak or (is_given and peak <= -MIN_PCM):
        return 1.0
    # Rounding changes a source by one step at the most, and full scale itself looks clipped.
    return min(1.0, (MAX_PCM - 2) / peak)


def _quantise(
    parts: Samples, given: Samples | None, common_gain: float, scratch: Scratch
) -> tuple[Pcm, Pcm]:
    """Rounds the parts, of which each has those before it in it, and the mixture.

    Returns:
        int16, each part alone, and the mixture.
    """
    if common_gain < 1:
        np.multiply(parts, np.float32(common_gain), out=parts)
    np.rint(parts, out=parts)
    pcm = scratch.array("parts_pcm", parts.shape, np.int16)
    mixture_pcm = scratch.array("mixture_pcm", parts.shape[1:], np.int16)
    if given is None:
        np.copyto(pcm[0], parts[0], casting="unsafe")
        np.subtract(parts[1:], parts[:-1], out=pcm[1:], casting="unsafe")
        np.copyto(mixture_pcm, parts[-1], casting="unsafe")
    else:
        # At full scale a step more is too much.
        alone = np.diff(parts, axis=0, prepend=np.float32(0))
        np.copyto(pcm, np.clip(alone, MIN_PCM, MAX_PCM), casting="unsafe")
        mixture = np.rint(given * np.float32(common_gain))
        np.copyto(mixture_pcm, np.clip(mixture, MIN_PCM, MAX_PCM), casting="unsafe")
    return pcm, mixture_pcm

"""Reading the files and the rooms that recipes name, at the sample rate of their mixtures."""

import dataclasses
import functools
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar, cast

import numpy as np
import soxr

from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.rendering.rooms import Response, read_response, simulate_response
from beam_jobs.rendering.signals import Signal
from beam_jobs.runtime.workarounds import import_scipy_signal
from beam_jobs.storage import files
from schemas.pcm import Samples
from schemas.recipe import GivenMixture, Noise, NoiseEvent, Recipe, Room, SimulatedRoom, Source

_signal = import_scipy_signal()

# A shard of 128 mixtures of two LibriSpeech utterances needs a quarter of it if each is used eight
# times, and all of it if each is used twice. Responses of rooms are small beside them.
_MAX_KEPT_BYTES = 48 << 20
# One that takes a larger part of it would put too many others out.
_MAX_STRETCH_BYTES = _MAX_KEPT_BYTES // 8

# As long as Scaper's (Salamon et al., 2017).
_FADE_S = 0.01


_Kept = TypeVar("_Kept", Signal, Response)


@dataclasses.dataclass(frozen=True, slots=True)
class _Stretch:
    """The stretch of a file that holds an utterance, as far as recipes use it.

    Attributes:
        start: the first frame, counted in the file's own frames.
        stop: the frame after the last one.
        played_rate: of the first recipe that uses it.
        is_varied: whether other recipes use another part of it, or play it faster or slower.
    """

    start: int
    stop: int
    played_rate: float
    is_varied: bool = False


class PartReader:
    """Reads the parts of recipes.

    Utterances that several recipes share are decoded, resampled and measured once for all of them,
    if the recipes are announced, and so are the responses of rooms. This changes no sample.

    Attributes:
        corpus_roots: the folder of each corpus, by its name.
    """

    def __init__(self, corpus_roots: Mapping[str, str]) -> None:
        self.corpus_roots = corpus_roots
        self._shared: dict[Hashable, _Stretch] = {}
        self._kept = _RecentlyUsed(_MAX_KEPT_BYTES)

    def announce(self, recipes: Sequence[Recipe]) -> None:
        """Prepares for recipes that follow, and forgets those that were announced before."""
        self._kept.clear()
        uses: Counter[Hashable] = Counter()
        stretches: dict[Hashable, _Stretch] = {}
        for recipe in recipes:
            for source in recipe.sources:
                if source.start == source.stop:
                    continue
                name = _utterance(source)
                uses[name] += 1
                own = _Stretch(source.start, source.stop, source.played_rate)
                known = stretches.setdefault(name, own)
                if own != known:
                    start, stop = min(own.start, known.start), max(own.stop, known.stop)
                    stretches[name] = _Stretch(start, stop, known.played_rate, True)
        self._shared = {
            name: stretch
            for name, stretch in stretches.items()
            if uses[name] > 1 and 4 * (stretch.stop - stretch.start) <= _MAX_STRETCH_BYTES
        }

    def read(self, part: Source | GivenMixture, recipe: Recipe) -> Signal:
        """Reads the stretch of a file that a source or a given mixture uses.

        Args:
            part: the source or the given mixture.
            recipe: has the sample rate, the channels and the resampler.

        Raises:
            UnusableAudioError: the file can't be decoded.
        """
        name = _utterance(part) if isinstance(part, Source) else None
        stretch = self._shared.get(name)
        # A recipe that takes the place of one that was announced may need another part.
        if stretch is None or not stretch.start <= part.start <= part.stop <= stretch.stop:
            samples = self._decode(part, recipe, part.start, part.stop)
            return _resample(Signal(samples, part.played_rate), recipe)

        as_decoded = (name, recipe.channels)

        def decode() -> Signal:
            samples = self._decode(part, recipe, stretch.start, stretch.stop)
            return Signal(samples, part.file_sample_rate).compact()

        def resample(start: int, stop: int) -> Signal:
            # What all recipes use in the same way is kept as they use it.
            decoded = self._kept.get(as_decoded, decode) if stretch.is_varied else decode()
            return _resample(Signal(decoded.audio[start:stop], part.played_rate), recipe)

        if (part.start, part.stop) != (stretch.start, stretch.stop):
            return resample(part.start - stretch.start, part.stop - stretch.start)
        if part.played_rate == part.file_sample_rate == recipe.sample_rate:
            return self._kept.get(as_decoded, decode)
        as_heard = (*as_decoded, part.played_rate, recipe.sample_rate, recipe.resampler)
        return self._kept.get(as_heard, lambda: resample(0, stretch.stop - stretch.start))

    def read_noise(self, noise: Noise, recipe: Recipe) -> Signal:
        """Reads a noise, and repeats it until it is as long as its recipe says.

        Args:
            noise: the noise.
            recipe: has the sample rate, the channels and the resampler.

        Raises:
            UnusableAudioError: the file can't be decoded, or is too short to be repeated.
        """
        path = files.join(self.corpus_roots[noise.corpus], noise.path)
        samples = read_segment(path, noise.start, noise.stop, recipe.channels)
        extended = extend_noise(samples, noise.num_frames, noise.file_sample_rate)
        return _resample(Signal(extended, noise.file_sample_rate), recipe)

    def read_event(self, event: NoiseEvent, recipe: Recipe) -> Signal:
        """Reads a noise event, and fades it in and out.

        Args:
            event: the noise event.
            recipe: has the sample rate, the channels and the resampler.

        Raises:
            UnusableAudioError: the file can't be decoded.
        """
        path = files.join(self.corpus_roots[event.corpus], event.path)
        samples = read_segment(path, event.start, event.stop, recipe.channels)
        return _resample(
            Signal(fade_ends(samples, event.file_sample_rate), event.file_sample_rate), recipe
        )

    def read_response(self, room: Room, recipe: Recipe) -> Response:
        """Reads or simulates the response of a room.

        Args:
            room: the room.
            recipe: has the sample rate and the channels.

        Raises:
            UnusableAudioError: the file of a recorded one can't be decoded, or holds no response.
        """

        def make() -> Response:
            if isinstance(room, SimulatedRoom):
                return simulate_response(room, recipe.sample_rate)
            return read_response(room, self.corpus_roots, recipe.sample_rate, recipe.channels)

        return self._kept.get((room, recipe.sample_rate, recipe.channels), make)

    def _decode(
        self, part: Source | GivenMixture, recipe: Recipe, start: int, stop: int
    ) -> Samples:
        path = files.join(self.corpus_roots[part.corpus], part.path)
        if not isinstance(part, Source) or part.channel is None:
            return read_segment(path, start, stop, recipe.channels)
        samples = read_segment(path, start, stop, part.channel)
        return np.stack([samples, samples], axis=1) if recipe.channels == "stereo" else samples


class _RecentlyUsed:
    """The signals and responses that were used last, up to a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._kept: OrderedDict[Hashable, Signal | Response] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """Returns what has a key, which is made if it is not there, or not any more."""
        kept = cast(_Kept | None, self._kept.get(key))
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        made = self._kept[key] = make()
        self._num_bytes += made.num_bytes
        while self._num_bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._num_bytes -= oldest.num_bytes
        return made

    def clear(self) -> None:
        """Drops everything."""
        self._kept.clear()
        self._num_bytes = 0


def _utterance(source: Source) -> Hashable:
    return source.corpus, source.path, source.utterance, source.channel


def extend_noise(samples: Samples, num_frames: int, sample_rate: int) -> Samples:
    """Repeats a noise until it is long enough, fading over half a second into each repetition.

    This is how LibriMix extends the noise of WHAM! (Cosentino et al., 2020).

    Args:
        samples: float32 [samples] or [samples, channels].
        num_frames: the length of the result.
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


def fade_ends(samples: Samples, sample_rate: int) -> Samples:
    """Fades a sound in and out: where it is cut out of a longer one, it would begin with a click.

    Args:
        samples: float32 [samples] or [samples, channels].
        sample_rate: in Hz.
    """
    length = min(round(_FADE_S * sample_rate), len(samples) // 2)
    # The slopes of a raised cosine, without its zeros.
    fade_in = np.hanning(2 * length + 2)[1 : length + 1].astype(np.float32)
    fade_in = fade_in.reshape(-1, *[1] * (samples.ndim - 1))
    faded = samples.copy()
    faded[:length] *= fade_in
    faded[len(samples) - length :] *= fade_in[::-1]
    return faded


def _resample(signal: Signal, recipe: Recipe) -> Signal:
    """Returns a signal at the sample rate of its mixture."""
    rate, to_rate = signal.sample_rate, recipe.sample_rate
    if rate == to_rate:
        return signal
    if recipe.resampler == "resample_poly":
        window = _window(to_rate, round(rate))
        resampled: Samples = _signal.resample_poly(
            signal.samples, to_rate, round(rate), window=window
        )
    else:
        resampled = soxr.resample(signal.samples, rate, to_rate)
    return Signal(resampled, to_rate)


@functools.lru_cache(maxsize=16)
def _window(to_rate: int, from_rate: int) -> Samples:
    """Returns the filter that `resample_poly` would design again for every signal."""
    slowest = max(to_rate, from_rate) // math.gcd(to_rate, from_rate)
    coefficients = _signal.firwin(2 * 10 * slowest + 1, 1 / slowest, window=("kaiser", 5.0))
    window: Samples = coefficients.astype(np.float32)
    return window

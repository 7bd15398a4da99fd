"""Crops of speech as batches, each a function of the seed and the step alone."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.fft

from schemas.errors import UserError
from schemas.pcm import Samples, to_samples
from schemas.voice_configuration import VoiceConfiguration
from training.voices.packed_speech import KINDS, Kind, Speech

# Speakers with more speech are drawn more often, by the square root of it, up to this.
_MAX_HEARD_S = 60.0
_MIN_HEARD_S = 1.5
_EQUALISER_HZ = (0, 250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000)
_TELEPHONE_HZ = (300, 3400)
_RT60_S = (0.15, 0.6)
_TAIL_DB = (-12.0, 3.0)
_TAIL_AFTER_S = 0.004
_LEVEL_FLOOR = 1e-6


Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """The position of a piece of a voice: the packed speech, and its first and last samples."""

    speech: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Crops of voices.

    Attributes:
        waveform: float32 [batch, samples].
        labels: int32 [batch]: the voice, where one at another speed is another voice.
    """

    waveform: Samples
    labels: npt.NDArray[np.int32]


class Batches:
    """The endless sequence of batches from the split `train`.

    Attributes:
        voices: the names of the voices, in the order of their labels, at the first speed.
    """

    def __init__(
        self,
        packed: Sequence[Speech],
        configuration: VoiceConfiguration,
        voices: Sequence[str] = (),
    ) -> None:
        """Finds the voices with enough speech.

        Args:
            packed: all speech.
            configuration: of training.
            voices: those that training began with, if it is going on.

        Raises:
            UserError: the speech is at another sample rate, some of the voices are missing in it,
                or there are fewer than two.
        """
        self._packed = packed
        self._configuration = configuration
        places: dict[str, dict[Kind, list[_Place]]] = defaultdict(
            lambda: {kind: [] for kind in KINDS}
        )
        for index, speech in enumerate(packed):
            if speech.sample_rate != configuration.sample_rate:
                raise UserError(
                    f"{speech.dataset}: speech at {speech.sample_rate} Hz, and the configuration"
                    f" is for {configuration.sample_rate} Hz"
                )
            for piece in speech.pieces:
                if piece.split == "train":
                    place = _Place(index, piece.start, piece.stop)
                    places[piece.voice][speech.kind].append(place)
        heard_s = {
            voice: sum(place.stop - place.start for kind in KINDS for place in kinds[kind])
            / configuration.sample_rate
            for voice, kinds in places.items()
        }
        self.voices = tuple(voices) or tuple(
            sorted(voice for voice in places if heard_s[voice] >= _MIN_HEARD_S)
        )
        for voice in self.voices:
            if voice not in places:
                raise UserError(f"{voice}: training began with it, and it is not in the speech")
        if len(self.voices) < 2:
            raise UserError("fewer than two voices to train on")
        self._places = [places[voice] for voice in self.voices]
        shares = np.sqrt([min(heard_s[voice], _MAX_HEARD_S) for voice in self.voices])
        self._shares = shares / shares.sum()

    @property
    def num_labels(self) -> int:
        """The number of labels: each voice at every speed is one."""
        return len(self.voices) * len(self._configuration.speeds)

    def __getitem__(self, step: int) -> Batch:
        """Returns the batch of a step, counted from 0."""
        configuration = self._configuration
        random = np.random.default_rng([configuration.random_seed, step])
        crop_s = random.choice(configuration.crops_s)
        num_samples = round(crop_s * configuration.sample_rate)
        voices = random.choice(
            len(self.voices), int(configuration.batch_s / crop_s), p=self._shares
        )
        speeds = random.integers(len(configuration.speeds), size=len(voices))
        crops = np.stack(
            [
                self._crop(voice, configuration.speeds[speed], num_samples, random)
                for voice, speed in zip(voices, speeds, strict=True)
            ]
        )
        labels = voices + len(self.voices) * speeds
        return Batch(_add_noise(crops, configuration, random), labels.astype(np.int32))

    def _crop(
        self, voice: int, speed: float, num_samples: int, random: np.random.Generator
    ) -> Samples:
        kinds = self._places[voice]
        separated = random.random() < self._configuration.separated_share
        places = kinds["separated"] if separated and kinds["separated"] else kinds["clean"]
        places = places or kinds["separated"]
        num_needed = round(num_samples * speed)
        lengths = np.array([place.stop - place.start for place in places])
        parts: list[Samples] = []
        while num_needed:
            place = places[random.choice(len(places), p=lengths / lengths.sum())]
            length = min(place.stop - place.start, num_needed)
            start = random.integers(place.start, place.stop - length + 1)
            pcm = self._packed[place.speech].pcm[start : start + length]
            parts.append(to_samples(np.asarray(pcm)))
            num_needed -= length
        return self._change(np.concatenate(parts), num_samples, random)

    def _change(self, samples: Samples, num_samples: int, random: np.random.Generator) -> Samples:
        """Gives speech another length, speed and pitch with it, and another frequency response."""
        configuration = self._configuration
        spectrum = scipy.fft.rfft(samples)
        rate = configuration.sample_rate * num_samples / len(samples)
        hz = np.arange(len(spectrum)) * rate / num_samples
        gains_db = random.normal(0, configuration.equaliser_db, len(_EQUALISER_HZ))
        spectrum *= _gains(hz, gains_db)
        if random.random() < configuration.room_share:
            response = _draw_response(len(samples), configuration.sample_rate, random)
            spectrum *= scipy.fft.rfft(response)
        if random.random() < configuration.telephone_share:
            spectrum[(hz < _TELEPHONE_HZ[0]) | (hz > _TELEPHONE_HZ[1])] = 0
        crop = scipy.fft.irfft(spectrum, num_samples)
        level = np.sqrt(np.mean(crop**2)) + _LEVEL_FLOOR
        return (crop / level).astype(np.float32)  # type: ignore[no-any-return]


def _gains(hz: Array, gains_db: Array) -> Samples:
    return (10 ** (np.interp(hz, _EQUALISER_HZ, gains_db) / 20)).astype(np.float32)


def _draw_response(num_samples: int, rate: float, random: np.random.Generator) -> Samples:
    """Draws a room response, roughly: a direct sound and a decaying tail of noise."""
    rt60_s, tail_db = random.uniform(*_RT60_S), random.uniform(*_TAIL_DB)
    time_s = np.arange(num_samples, dtype=np.float32) / np.float32(rate)
    tail = random.standard_normal(num_samples, np.float32) * 10 ** (-3 * time_s / rt60_s)
    tail[: round(_TAIL_AFTER_S * rate)] = 0
    response = tail * 10 ** (tail_db / 20) / np.linalg.norm(tail)
    response[0] = 1
    return response.astype(np.float32)


def _add_noise(
    crops: Samples, configuration: VoiceConfiguration, random: np.random.Generator
) -> Samples:
    """Adds coloured noise to some of the crops, and another crop to others.

    A soft second voice is what a separator leaves of the other speaker.
    """
    number, num_samples = crops.shape
    hz = np.linspace(0, configuration.sample_rate / 2, num_samples // 2 + 1)
    added = np.roll(crops, random.integers(1, number), axis=0)
    for index in np.flatnonzero(random.random(number) < 0.5):
        colour_db = np.cumsum(random.normal(-3, 4, len(_EQUALISER_HZ)))
        noise = random.standard_normal((2, len(hz)), np.float32) * _gains(hz, colour_db)
        added[index] = scipy.fft.irfft(noise[0] + 1j * noise[1], num_samples)
    added /= np.sqrt(np.mean(added**2, axis=1, keepdims=True)) + _LEVEL_FLOOR
    gains_db = random.uniform(*configuration.noise_db, number)
    gains = 10 ** (gains_db / 20) * (random.random(number) < configuration.noise_share)
    return crops + gains[:, np.newaxis].astype(np.float32) * added

"""Responses of rooms, recorded or simulated, and speech as it sounds in them."""

import dataclasses
import functools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import soxr

from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.recipes.scene import WALL_M
from beam_jobs.runtime.workarounds import import_scipy_signal
from beam_jobs.storage import files
from schemas.errors import UserError, is_installed
from schemas.pcm import Samples
from schemas.recipe import Channels, RecordedRoom, SimulatedRoom
from schemas.recipe_config import SimulatedRooms

_signal = import_scipy_signal()

_NO_PYROOMACOUSTICS = "simulated rooms need pyroomacoustics: pip install 'spleeter-beam[rooms]'"

# Nothing this close to the peak of the direct sound is a reflection (Zahorik, 2002).
_DIRECT_S = 0.0025
# No room sounds longer; a speech corpus that was given as room responses by mistake does.
_MAX_RESPONSE_S = 30.0

_SOUND_M_PER_S = 343.0
# Image sources are followed until the sound has decayed by this much: the reverberation time is
# measured above it, and speech masks what is below.
_IMAGES_DB = 35.0
# This many reflections are a million images, which take a second to add up.
_MAX_ORDER = 100


Metres = tuple[float, float, float]
"""Along the length, the width and the height of a room."""


@dataclasses.dataclass(frozen=True, eq=False)
class Response:
    """The response of a room to a pulse.

    Attributes:
        samples: float32 [samples].
        direct: the index of the sample where the direct sound has its peak.
        sample_rate: in Hz.
    """

    samples: Samples
    direct: int
    sample_rate: int

    @property
    def num_bytes(self) -> int:
        """The memory that the samples take."""
        return self.samples.nbytes

    @property
    def direct_part(self) -> slice:
        """The samples that hold the direct sound."""
        reach = round(_DIRECT_S * self.sample_rate)
        return slice(max(self.direct - reach, 0), self.direct + reach + 1)

    @functools.cached_property
    def direct_to_reverberant_db(self) -> float:
        """The energy of the direct sound over that of everything after it; may be infinite."""
        direct = self.samples[self.direct_part]
        rest = self.samples[self.direct_part.stop :]
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(np.vdot(direct, direct) / np.vdot(rest, rest)))

    @functools.cached_property
    def rt60_s(self) -> float:
        """The time in which sound decays by 60 dB; NaN for a response that never decays by 25 dB.

        By Schroeder's backward integration of everything after the direct sound, extrapolated from
        the decay between 5 and 25 dB (T20 of ISO 3382-2).
        """
        energy = np.cumsum(np.square(self.samples[self.direct_part.stop :], dtype=np.float64)[::-1])
        energy = energy[::-1]
        if not len(energy) or not energy[0]:
            return math.nan
        start, stop = (int(np.argmax(energy < energy[0] * 10 ** (-db / 10))) for db in (5, 25))
        return 3 * (stop - start) / self.sample_rate if stop else math.nan


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Reverberated:
    """Speech in a room, at the RMS level that it had before.

    The level is measured over the length of the dry speech, without the tail of the room.

    Attributes:
        heard: float32 [samples], starts with the speech, and is longer by the tail of the room.
        direct: float32 [samples], starts with the speech; what came straight to the microphone.
        direct_to_reverberant_db: of the room's response; may be infinite.
        rt60_s: the reverberation time of the response in seconds; NaN where it can't be measured.
    """

    heard: Samples
    direct: Samples
    direct_to_reverberant_db: float
    rt60_s: float


def read_response(
    room: RecordedRoom, corpus_roots: Mapping[str, str], sample_rate: int, channels: Channels
) -> Response:
    """Reads the response of a room that was recorded.

    Args:
        room: names the file.
        corpus_roots: the folder of each corpus, by its name.
        sample_rate: of the result, in Hz.
        channels: which channels of the file, as for `read_segment`.

    Raises:
        UnusableAudioError: the file can't be decoded, or holds no room response.
    """
    path = files.join(corpus_roots[room.corpus], room.path)
    if room.stop > _MAX_RESPONSE_S * room.file_sample_rate:
        raise UnusableAudioError(f"longer than {_MAX_RESPONSE_S:g} s, no room response")
    samples = read_segment(path, 0, room.stop, channels)
    if room.file_sample_rate != sample_rate:
        samples = soxr.resample(samples, room.file_sample_rate, sample_rate)
    # As in Kaldi's wav-reverberate: only a room that focuses sound has a higher peak later.
    direct = int(np.argmax(np.abs(samples)))
    if not samples[direct]:
        raise UnusableAudioError("silence")
    return Response(samples, direct, sample_rate)


def simulate_response(room: SimulatedRoom, sample_rate: int) -> Response:
    """Adds up the images of a speaker in the walls of a shoebox room (Allen and Berkley, 1979).

    Args:
        room: a room whose walls all absorb the same share of the energy.
        sample_rate: of the result, in Hz.

    Raises:
        ImportError: pyroomacoustics is not installed.
    """
    # Takes seconds to import, and few workers need it.
    try:
        import pyroomacoustics  # noqa: PLC0415
    except ImportError:
        raise ImportError(_NO_PYROOMACOUSTICS) from None

    absorption, order = _walls(room.size_m, room.rt60_s)
    # The number of threads decides which images each adds up, and so how the sum is rounded.
    pyroomacoustics.constants.set("num_threads", 1)
    shoebox = pyroomacoustics.ShoeBox(
        room.size_m,
        fs=sample_rate,
        materials=pyroomacoustics.Material(absorption),
        max_order=order,
    )
    shoebox.add_source(room.speaker_m)
    shoebox.add_microphone(room.microphone_m)
    # Pyroomacoustics finds the same images, but that takes it longer than all the rest.
    (speaker,) = shoebox.sources
    speaker.images, speaker.damping = find_images(room.size_m, room.speaker_m, absorption, order)
    speaker.directions = np.zeros((1, 3, 1), np.float32)
    shoebox.visibility = [np.ones((1, speaker.images.shape[1]), bool)]
    shoebox.simulator_state["ism_done"] = True
    shoebox.compute_rir()
    samples = shoebox.rir[0][0].astype(np.float32)
    # Close reflections may add up to a higher peak than the direct sound has. Its time is known:
    # the delay, and half the length of the filter that delays by fractions of a sample.
    delay_s = math.dist(room.speaker_m, room.microphone_m) / _SOUND_M_PER_S
    direct = round(delay_s * sample_rate) + pyroomacoustics.constants.get("frac_delay_length") // 2
    return Response(samples, direct, sample_rate)


def find_images(
    size_m: Metres, speaker_m: Metres, absorption: float, order: int
) -> tuple[Samples, Samples]:
    """Finds the images of a speaker in the walls of a shoebox room.

    Args:
        size_m: length, width and height of the room.
        speaker_m: the position of the speaker, from one lower corner.
        absorption: the share of the energy that a wall absorbs.
        order: the number of reflections to follow.

    Returns:
        float32 [3, images], the positions of the images, and float32 [1, images], what is left of
        the pressure after their reflections. Both are in the order of pyroomacoustics, and equal to
        its own to the last bit.
    """
    # Small integers: a room of a hundred reflections has a cube of eight million.
    numbers = np.arange(-order, order + 1, dtype=np.int16)
    size, speaker = np.array(size_m, np.float32), np.array(speaker_m, np.float32)
    # Every other image of the room is a mirror image.
    in_image = np.where(numbers[:, np.newaxis] % 2, size - speaker, speaker)
    positions = numbers[:, np.newaxis].astype(np.float32) * size + in_image
    depths = abs(numbers)
    reflections = depths[:, np.newaxis, np.newaxis] + depths[:, np.newaxis] + depths
    by_axis = np.nonzero(reflections <= order)[::-1]
    images = np.stack([positions[at, axis] for axis, at in enumerate(by_axis)])

    powers = np.full(order + 1, np.sqrt(np.float32(1) - np.float32(absorption)))
    powers[0] = 1
    powers = np.cumprod(powers, dtype=np.float32)
    # Sound meets the two walls of an axis in turns, beginning with the one on the image's side.
    near, far = powers[(depths + 1) // 2], powers[depths // 2]
    lower, upper = np.where(numbers < 0, (near, far), (far, near))
    damping = np.ones(images.shape[1], np.float32)
    for at in by_axis:
        damping *= lower[at]
        damping *= upper[at]
    return images, damping[np.newaxis]


def reverberate(samples: Samples, response: Response) -> Reverberated:
    """Convolves speech with the response of a room, and gives it the RMS level that it had before.

    The direct sound starts where the speech did.

    Args:
        samples: float32 [samples], one or more.
        response: the response of the room, at the same sample rate.
    """
    part = response.direct_part
    heard = _signal.oaconvolve(samples, response.samples)[response.direct :]
    direct = _signal.oaconvolve(samples, response.samples[part])[response.direct - part.start :]
    placed = heard[: len(samples)]
    power = float(np.vdot(placed, placed))
    gain = np.float32(math.sqrt(float(np.vdot(samples, samples)) / power) if power else 0.0)
    return Reverberated(
        heard * gain, direct * gain, response.direct_to_reverberant_db, response.rt60_s
    )


def check_simulation(rooms: SimulatedRooms) -> None:
    """Fails on rooms that can't be simulated, before any worker tries.

    Raises:
        UserError: pyroomacoustics is missing, or two of the ranges contradict each other.
    """
    if not is_installed("pyroomacoustics"):
        raise UserError(_NO_PYROOMACOUSTICS)
    sides_m = (rooms.length_m.low, rooms.width_m.low, rooms.height_m.low)
    # From any point of a room, half its diagonal fits in some direction.
    reach_m = math.hypot(*(side_m - 2 * WALL_M for side_m in sides_m[:2])) / 2
    smallest = " x ".join(f"{side_m:g}" for side_m in sides_m)
    if rooms.distance_m.high > reach_m:
        fits_m = math.floor(100 * reach_m) / 100
        raise UserError(
            f"rooms: distance_m of {rooms.distance_m.high:g} does not fit into every room where"
            f" length_m, width_m and height_m are {smallest}: {fits_m:g} does"
        )
    if _walls(sides_m, rooms.rt60_s.high)[1] > _MAX_ORDER:
        raise UserError(
            f"rooms: rt60_s of {rooms.rt60_s.high:g} takes too many reflections to simulate where"
            f" length_m, width_m and height_m are {smallest}: make the rooms larger, or it shorter"
        )


@functools.lru_cache(maxsize=16)
def _walls(size_m: Metres, rt60_s: float) -> tuple[float, int]:
    """Finds walls that let sound decay within a reverberation time.

    Sabine's and Eyring's formulas are for diffuse sound; the sound of image sources is not diffuse,
    and in flat rooms they are off by half. Sound from one direction has passed as many walls as its
    path crosses images of the room. The decay is the mean over all directions (after Lehmann and
    Johansson, 2008), and absorption only stretches it in time.

    Returns:
        The share of the energy that a wall absorbs, and the number of reflections to follow.
    """
    walls_per_m = (_directions() / np.array(size_m)).sum(axis=1)
    reflectance_m = np.linspace(0, 60 / walls_per_m.mean(), 1000)
    decay = (np.exp(-np.outer(reflectance_m, walls_per_m)) / walls_per_m).sum(axis=1)
    decay_db = 10 * np.log10(decay[0] / decay)
    at_5, at_25, at_end = np.interp([5, 25, _IMAGES_DB], decay_db, reflectance_m)
    # Minus the natural logarithm of the share of energy that a wall reflects.
    loss = 3 * (at_25 - at_5) / (_SOUND_M_PER_S * rt60_s)
    order = math.ceil(at_end / loss * math.hypot(*(1 / side_m for side_m in size_m)))
    return float(1 - math.exp(-loss)), order


@functools.cache
def _directions() -> npt.NDArray[np.float64]:
    """Returns unit vectors spread evenly over an eighth of the sphere, float64 [directions, 3]."""
    middles = (np.arange(8) + 0.5) / 8
    height, angle = (grid.ravel() for grid in np.meshgrid(middles, middles * math.pi / 2))
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)

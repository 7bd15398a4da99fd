"""Rooms: their responses, recorded or simulated, and how speech sounds in them."""

import dataclasses
import functools
import importlib.util
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import soxr

from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.recipes.scene import WALL_M
from beam_jobs.storage import files
from schemas.errors import UserError
from schemas.pcm import Samples
from schemas.recipe import Channels, Room, SimulatedRoom
from schemas.recipe_config import SimulatedRooms

_NO_PYROOMACOUSTICS = "simulated rooms need pyroomacoustics: pip install 'spleeter-beam[rooms]'"

# What is so close to the peak of the direct sound is no reflection (Zahorik, 2002).
_DIRECT_S = 0.0025
# No room sounds longer; a speech corpus that was taken for room responses does.
_MAX_RESPONSE_S = 30.0

_SOUND_M_PER_S = 343.0
# Image sources are followed as far as they come from when the sound has decayed by so much: the
# reverberation time is measured above it, and speech covers what is below.
_IMAGES_DB = 35.0
# A million images, and a second to add them up.
_MAX_ORDER = 100


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Response:
    """The response of a room to a pulse.

    Attributes:
        samples: float32 [samples].
        direct: the sample where the direct sound has its peak.
        sample_rate: in Hz.
    """

    samples: Samples
    direct: int
    sample_rate: int

    @property
    def direct_part(self) -> slice:
        """Where the direct sound is."""
        reach = round(_DIRECT_S * self.sample_rate)
        return slice(max(self.direct - reach, 0), self.direct + reach + 1)

    @property
    def direct_to_reverberant_db(self) -> float:
        """The energy of the direct sound over that of everything after it; may be infinite."""
        direct = self.samples[self.direct_part]
        rest = self.samples[self.direct_part.stop :]
        with np.errstate(divide="ignore"):
            return float(10 * np.log10(np.vdot(direct, direct) / np.vdot(rest, rest)))

    @property
    def rt60_s(self) -> float:
        """In which sound decays by 60 dB; not a number where it can't be told.

        By Schroeder's backward integration, from where the decay is by 5 to where it is by 25 dB
        (T20 of ISO 3382-2), the direct sound left out.
        """
        energy = np.cumsum(np.square(self.samples[self.direct_part.stop :], dtype=np.float64)[::-1])
        energy = energy[::-1]
        if not len(energy) or not energy[0]:
            return math.nan
        start, stop = (int(np.argmax(energy < energy[0] * 10 ** (-db / 10))) for db in (5, 25))
        return 3 * (stop - start) / self.sample_rate if stop else math.nan


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Reverberated:
    """Speech in a room, with the RMS level that it had without.

    The level is that of the stretch which the speech takes; what sounds on after it does not count.

    Attributes:
        heard: float32 [samples], beginning where the speech does, and longer by the room's tail.
        direct: float32 [samples], likewise, what came straight to the microphone.
        direct_to_reverberant_db: of the room's response; may be infinite.
        rt60_s: of the room's response; not a number where it can't be told.
    """

    heard: Samples
    direct: Samples
    direct_to_reverberant_db: float
    rt60_s: float


def read_response(
    room: Room,
    corpus_roots: Mapping[str, str],
    sample_rate: int,
    channels: Channels,
) -> Response:
    """Reads the response of a room, or simulates it.

    Args:
        room: whose.
        corpus_roots: the folder of each corpus, by its name.
        sample_rate: that the response shall have, in Hz.
        channels: of a file, as `read_segment` has them.

    Raises:
        UnusableAudioError: the file can't be decoded, or is no room response.
    """
    if isinstance(room, SimulatedRoom):
        return simulate_response(room, sample_rate)
    path = files.join(corpus_roots[room.corpus], room.path)
    if room.stop > _MAX_RESPONSE_S * room.file_sample_rate:
        raise UnusableAudioError(f"longer than {_MAX_RESPONSE_S:g} s, no room response")
    samples = read_segment(path, 0, room.stop, channels)
    if room.file_sample_rate != sample_rate:
        samples = soxr.resample(samples, room.file_sample_rate, sample_rate)
    # As Kaldi's wav-reverberate has it; what is louder than the direct sound would be a focus.
    direct = int(np.argmax(np.abs(samples)))
    if not samples[direct]:
        raise UnusableAudioError("silence")
    return Response(samples, direct, sample_rate)


def simulate_response(room: SimulatedRoom, sample_rate: int) -> Response:
    """Adds up the images of a speaker in the walls of a shoebox room (Allen and Berkley, 1979).

    Args:
        room: with walls that all absorb the same.
        sample_rate: that the response shall have, in Hz.

    Raises:
        ImportError: pyroomacoustics is not installed.
    """
    # It takes seconds to import, and few workers need it.
    try:
        import pyroomacoustics  # noqa: PLC0415
    except ImportError:
        raise ImportError(_NO_PYROOMACOUSTICS) from None

    absorption, order = _walls(room.size_m, room.rt60_s)
    # The images that are added up in each thread depend on how many there are, and rounding on it.
    pyroomacoustics.constants.set("num_threads", 1)
    shoebox = pyroomacoustics.ShoeBox(
        room.size_m,
        fs=sample_rate,
        materials=pyroomacoustics.Material(absorption),
        max_order=order,
    )
    shoebox.add_source(room.speaker_m)
    shoebox.add_microphone(room.microphone_m)
    shoebox.compute_rir()
    samples = shoebox.rir[0][0].astype(np.float32)
    # Close reflections may add up to more than the direct sound, but when that comes is known: half
    # the filter of a fractional delay after its time.
    delay_s = math.dist(room.speaker_m, room.microphone_m) / _SOUND_M_PER_S
    direct = round(delay_s * sample_rate) + pyroomacoustics.constants.get("frac_delay_length") // 2
    return Response(samples, direct, sample_rate)


def reverberate(samples: Samples, response: Response) -> Reverberated:
    """Lets speech sound in a room, so that the direct sound is where the speech was.

    Args:
        samples: float32 [samples], one or more.
        response: of the room.
    """
    # SciPy's signals take a while to import, and a job without rooms needs none.
    from scipy.signal import oaconvolve  # noqa: PLC0415

    part = response.direct_part
    heard = oaconvolve(samples, response.samples)[response.direct :]
    direct = oaconvolve(samples, response.samples[part])[response.direct - part.start :]
    placed = heard[: len(samples)]
    power = float(np.vdot(placed, placed))
    gain = np.float32(math.sqrt(float(np.vdot(samples, samples)) / power) if power else 0.0)
    return Reverberated(
        heard * gain, direct * gain, response.direct_to_reverberant_db, response.rt60_s
    )


def check_simulation(rooms: SimulatedRooms) -> None:
    """Sees that rooms can be simulated.

    Raises:
        UserError: pyroomacoustics is missing, or two ranges do not go together.
    """
    if importlib.util.find_spec("pyroomacoustics") is None:
        raise UserError(_NO_PYROOMACOUSTICS)
    sides_m = (rooms.length_m.low, rooms.width_m.low, rooms.height_m.low)
    # From anywhere in a room, one can go by half its diagonal in some direction.
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
def _walls(size_m: tuple[float, float, float], rt60_s: float) -> tuple[float, int]:
    """The absorption of walls that let sound decay so fast, and how many reflections matter.

    Sabine's and Eyring's formulas are for diffuse sound, which that of image sources is not, and
    are half off in flat rooms. What comes from one direction has gone through walls so often as its
    path has gone through the images of the room; the decay is the mean over all directions (after
    Lehmann and Johansson, 2008), and time is what absorption stretches.

    Returns:
        The share of the energy that a wall absorbs, and the number of reflections.
    """
    walls_per_m = (_directions() / np.array(size_m)).sum(axis=1)
    reflectance_m = np.linspace(0, 60 / walls_per_m.mean(), 1000)
    decay = (np.exp(-np.outer(reflectance_m, walls_per_m)) / walls_per_m).sum(axis=1)
    decay_db = 10 * np.log10(decay[0] / decay)
    at_5, at_25, at_end = np.interp([5, 25, _IMAGES_DB], decay_db, reflectance_m)
    # Of the energy that a wall lets through, the natural logarithm.
    loss = 3 * (at_25 - at_5) / (_SOUND_M_PER_S * rt60_s)
    order = math.ceil(at_end / loss * math.hypot(*(1 / side_m for side_m in size_m)))
    return float(1 - math.exp(-loss)), order


@functools.cache
def _directions() -> npt.NDArray[np.float64]:
    """Unit vectors evenly in an eighth of the sphere, float64 [directions, 3]."""
    middles = (np.arange(8) + 0.5) / 8
    height, angle = (grid.ravel() for grid in np.meshgrid(middles, middles * math.pi / 2))
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)

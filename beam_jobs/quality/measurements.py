"""Measurements of the mixtures of a dataset, taken while they are rendered."""

import dataclasses
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from beam_jobs.quality.histogram import Quantity, RunningHistogram
from beam_jobs.recipes.turn_taking import (
    find_dominance,
    recipe_turns,
    share_of_three,
    turn_changes,
)
from beam_jobs.rendering.loudness import integrated_loudness_lufs
from beam_jobs.rendering.render import RenderedMixture
from beam_jobs.runtime.dead_letters import Rejected
from schemas.dataset import Shard, ShardInfo
from schemas.pcm import MAX_PCM, Pcm, Samples, to_samples
from schemas.quality import Histogram
from schemas.recipe import NoiseEvent, Recipe
from schemas.transmission import PACKET_S, AutomaticGain, Band, Clipping, Codec

_VERSION = 1

QUANTITIES: Mapping[str, Quantity] = {
    "duration_s": Quantity("Length of the mixtures", "s", 0.1),
    "num_sources": Quantity("Speakers in a mixture", "speakers", 1),
    "overlap_ratio": Quantity("Time in which at least two sources overlap", "of the speech", 0.01),
    "offset_s": Quantity("A source starts so long after the one before it", "s", 0.05),
    "level_difference_db": Quantity("Loudest source over softest, RMS", "dB", 0.25),
    "loudness_lufs": Quantity("Loudness of the sources, of a sample", "LUFS", 0.25),
    "common_gain_db": Quantity("Gain that prevents clipping", "dB", 0.1),
    "silence_ratio": Quantity("Time in which nobody is heard", "of the mixture", 0.01),
    "speech_s": Quantity("Speech in a conversation, of all its speakers", "s", 1),
    "num_turns": Quantity("Turns in a conversation", "turns", 1),
    "pause_s": Quantity("Pause before a speaker goes on", "s", 0.02),
    "gap_s": Quantity("Gap before another speaker begins", "s", 0.02),
    "turn_overlap_s": Quantity("Overlap with which another speaker begins", "s", 0.02),
    "backchannel_s": Quantity("Turn inside that of another speaker", "s", 0.02),
    "dominance": Quantity("Dominance: 0 if all speak equally long, 1 if one alone does", "", 0.01),
    "three_at_once": Quantity("Time in which three or more speak", "of the speech", 0.002),
    "residual_db": Quantity(
        "What sources leave over of a given mixture, relative to it", "dB", 0.5
    ),
    "snr_db": Quantity("Sum of the sources over the noise, RMS", "dB", 0.25),
    "noise_lufs": Quantity("Loudness of the noise, of a sample", "LUFS", 0.25),
    "background_snr_db": Quantity("Sum of the sources over the background noise, RMS", "dB", 0.25),
    "background_lufs": Quantity("Loudness of the background noise", "LUFS", 0.25),
    "num_events": Quantity("Noise events in a mixture", "events", 1),
    "event_snr_db": Quantity("Sum of the sources over a noise event, RMS", "dB", 0.25),
    "event_lufs": Quantity("Loudness of the noise events", "LUFS", 0.25),
    "event_length_s": Quantity("Length of the noise events", "s", 0.1),
    "event_start_s": Quantity("Start of the noise events in the mixture", "s", 0.1),
    "mixtures_in_room": Quantity("Mixtures in a simulated room", "mixtures", 1),
    "rt60_s": Quantity("Reverberation time of the rooms", "s", 0.01),
    "direct_to_reverberant_db": Quantity("Direct over reverberated sound", "dB", 0.25),
    "enrolment_s": Quantity("Speech in an enrolment, before it is padded", "s", 0.1),
    "speed": Quantity("Speed of the utterances that are played faster or slower", "times", 0.01),
    "low_hz": Quantity("Lower edge of bands", "Hz", 10),
    "high_hz": Quantity("Upper edge of bands", "Hz", 50),
    "below_peak_db": Quantity("Clipping below the peak", "dB", 0.25),
    "level_dbfs": Quantity("Level that automatic gains aim at", "dBFS", 0.25),
    "kbps": Quantity("Bit rate of codecs that have several", "kbit/s", 0.5),
    "packet_loss": Quantity("Packets that get lost, where any does", "of the packets", 0.01),
    "degradation_db": Quantity("Mixture over what its transmission changed, RMS", "dB", 0.5),
}
"""Everything that is measured, by the names that `quality.json` uses."""

# Left out of the quality of a dataset without conversations.
_OF_TURNS = ("speech_s", "num_turns", "pause_s", "gap_s", "turn_overlap_s")
# Left out where nothing was measured.
_OF_SOME = (
    "backchannel_s",
    "dominance",
    "three_at_once",
    "residual_db",
    "snr_db",
    "noise_lufs",
    "background_snr_db",
    "background_lufs",
    "num_events",
    "event_snr_db",
    "event_lufs",
    "event_length_s",
    "event_start_s",
    "mixtures_in_room",
    "rt60_s",
    "direct_to_reverberant_db",
    "speed",
    "kbps",
    "packet_loss",
    "enrolment_s",
    "degradation_db",
)

# Left out where all are the same.
_OF_SEVERAL = ("num_sources", "low_hz", "high_hz", "below_peak_db", "level_dbfs")

# Mixtures that are named of those that are the least the sums of their sources.
_NUM_WORST = 10

# Measuring loudness takes as long as the rest of a mixture; one mixture in 32 shows as much.
_LOUDNESS_EVERY = 32

_FRAME_S = 0.02
_SILENCE_PCM = 32  # Of less than -60 dBFS.


@dataclasses.dataclass(slots=True)
class Measurements:
    """Measurements of one shard of a dataset, or of several together.

    Attributes:
        infos: the content of each shard.
        samples: by split, the samples of all mixtures.
        uses: by split, the entries of the catalogue in the mixtures, once for each use.
        histograms: by the names of `QUANTITIES`.
        max_sum_error: the greatest difference of a mixture from the sum of its parts, in steps of
            16-bit PCM.
        clipped_samples: samples at full scale.
        silent_sources: sources without any sound in their mixture.
        genders: mixtures of speakers of `one` gender, of `both`, and of `unknown` ones, of those
            with two or more.
        exact_mixtures: given mixtures that are the sums of their sources.
        worst_residuals: of the given mixtures that are not, the worst: what the sources leave over,
            in dB relative to the mixture, and the id.
        rejected: files that could not be decoded.
        drawn_channels: mixtures by the number of the channel of transmission that was drawn.
        turns: the turns of conversations of two or more, by what they begin with, as `Change` has
            it, or `first`.
    """

    infos: list[ShardInfo] = dataclasses.field(default_factory=list)
    samples: Counter[str] = dataclasses.field(default_factory=Counter)
    uses: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    histograms: dict[str, RunningHistogram] = dataclasses.field(
        default_factory=lambda: {name: RunningHistogram() for name in QUANTITIES}
    )
    max_sum_error: int = 0
    clipped_samples: int = 0
    silent_sources: int = 0
    genders: Counter[str] = dataclasses.field(default_factory=Counter)
    exact_mixtures: int = 0
    worst_residuals: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    rejected: set[Rejected] = dataclasses.field(default_factory=set)
    drawn_channels: Counter[int] = dataclasses.field(default_factory=Counter)
    turns: Counter[str] = dataclasses.field(default_factory=Counter)

    def record_uses(self, split: str, entries: Iterable[int]) -> None:
        """Records the entries of the catalogue that a mixture is made of."""
        self.uses.setdefault(split, []).extend(entries)

    def record_rooms(self, counts: Iterable[int]) -> None:
        """Records the number of mixtures in each simulated room of a shard."""
        for count in counts:
            self._count("mixtures_in_room", count)

    def record_channel(self, number: int) -> None:
        """Records the number of the channel of transmission that was drawn for a mixture."""
        self.drawn_channels[number] += 1

    def measure(self, mixture: RenderedMixture) -> None:
        """Measures a mixture, except for what its recipe does not tell."""
        recipe = mixture.recipe
        num_before = self.histograms["duration_s"].counts.total()
        is_in_sample = num_before % _LOUDNESS_EVERY == 0
        self.samples[recipe.split] += recipe.num_samples
        self._count("duration_s", recipe.duration_s)
        self._count("num_sources", len(recipe.rows))
        if len(recipe.rows) > 1:
            self._count("overlap_ratio", recipe.overlap_ratio)
            self.genders[_genders(recipe)] += 1
        for earlier, later in itertools.pairwise(sorted(recipe.offsets_s)):
            self._count("offset_s", later - earlier)
        self._measure_turns(recipe)
        self._count("common_gain_db", recipe.common_gain_db)
        self._count("silence_ratio", _silence_ratio(mixture))

        if recipe.mixture is None:
            self.max_sum_error = max(self.max_sum_error, _sum_error(mixture))
        else:
            self._add_residual(residual_db(mixture), recipe.id)
        for signal in (mixture.sources, mixture.mixture):
            if max(signal.max(), -int(signal.min())) >= MAX_PCM:
                self.clipped_samples += int((np.abs(signal.astype(np.int32)) >= MAX_PCM).sum())
        heard_dbfs = [level for level in mixture.levels_dbfs if math.isfinite(level)]
        self.silent_sources += len(mixture.levels_dbfs) - len(heard_dbfs)
        if len(heard_dbfs) > 1:
            self._count("level_difference_db", max(heard_dbfs) - min(heard_dbfs))
        if is_in_sample:
            for index in range(len(recipe.rows)):
                self._count("loudness_lufs", _loudness_lufs(mixture, index))
        self._measure_scene(mixture, is_in_sample)
        self._measure_transmission(mixture)

    def merge(self, other: "Measurements") -> None:
        """Adds the measurements of other shards."""
        self.infos += other.infos
        self.samples.update(other.samples)
        for split, uses in other.uses.items():
            self.uses.setdefault(split, []).extend(uses)
        for name, histogram in other.histograms.items():
            self.histograms[name].merge(histogram)
        self.max_sum_error = max(self.max_sum_error, other.max_sum_error)
        self.clipped_samples += other.clipped_samples
        self.silent_sources += other.silent_sources
        self.genders.update(other.genders)
        self.exact_mixtures += other.exact_mixtures
        self._keep_worst(other.worst_residuals)
        self.rejected |= other.rejected
        self.drawn_channels.update(other.drawn_channels)
        self.turns.update(other.turns)

    def to_json(self) -> str:
        """Returns the record that a finished shard leaves for a job that is started again."""
        document = {"version": _VERSION} | _fields(self)
        # A histogram without values has infinite ends, which JSON can't have.
        document["histograms"] = {
            name: histogram for name, histogram in self.histograms.items() if histogram.counts
        }
        return json.dumps(document, default=_fields, allow_nan=False)

    def summarise_histograms(self) -> dict[str, Histogram]:
        """Returns the histograms of all quantities that the dataset has."""
        return {
            name: self.histograms[name].summarise(quantity)
            for name, quantity in QUANTITIES.items()
            if (name not in _OF_TURNS or self.histograms["num_turns"].counts)
            and (name not in _OF_SOME or self.histograms[name].counts)
            and (name not in _OF_SEVERAL or len(self.histograms[name].counts) > 1)
        }

    def _measure_turns(self, recipe: Recipe) -> None:
        if recipe.sources[0].row is None:
            return
        turns = recipe_turns(recipe)
        changes = turn_changes(turns)
        for kind, duration_s in changes:
            self._count(kind, duration_s)
        self._count("num_turns", 1 + sum(kind != "pause_s" for kind, _ in changes))
        self._count("speech_s", sum(turn.duration_s for turn in turns))
        if len(recipe.rows) > 1:
            # Whoever is alone always goes on, which says nothing of how turns are taken.
            self.turns.update(["first", *(kind for kind, _ in changes)])
            self._count("dominance", find_dominance(turns))
        if len(recipe.rows) > 2:
            self._count("three_at_once", share_of_three(turns))

    def _measure_scene(self, mixture: RenderedMixture, is_in_sample: bool) -> None:
        for source in mixture.recipe.sources:
            if source.speed is not None:
                self._count("speed", source.speed)
        for enrolment in mixture.recipe.enrolments or ():
            self._count("enrolment_s", enrolment.duration_s)
        for room in mixture.rooms:
            if room is not None:
                self._count("rt60_s", room.rt60_s)
                self._count("direct_to_reverberant_db", room.direct_to_reverberant_db)
        if mixture.noise is not None:
            self._count("snr_db", _snr_db(mixture.mixture, mixture.noise))
            if is_in_sample:
                noise_lufs = _lufs(mixture.noise, mixture.recipe.sample_rate)
                self._count("noise_lufs", noise_lufs)
        if mixture.recipe.noise_events is not None:
            self._measure_noises(mixture)

    def _measure_noises(self, mixture: RenderedMixture) -> None:
        recipe = mixture.recipe
        for heard in mixture.noises:
            kind = "event" if isinstance(heard.part, NoiseEvent) else "background"
            self._count(f"{kind}_snr_db", heard.snr_db)
            self._count(f"{kind}_lufs", heard.loudness_lufs + recipe.common_gain_db)
        events = recipe.noise_events or ()
        self._count("num_events", len(events))
        for event in events:
            self._count("event_start_s", event.offset_s)
            left_s = recipe.duration_s - event.offset_s
            self._count("event_length_s", min(event.duration_s, left_s))

    def _measure_transmission(self, mixture: RenderedMixture) -> None:
        recipe = mixture.recipe
        if recipe.transmission is None or mixture.degraded is None:
            return
        for step in recipe.transmission:
            if isinstance(step, Band | Clipping | AutomaticGain):
                for name, value in dataclasses.asdict(step).items():
                    self._count(name, value)
            if isinstance(step, Codec):
                if step.kbps is not None:
                    self._count("kbps", step.kbps)
                if step.lost_packets:
                    num_packets = math.ceil(recipe.duration_s / PACKET_S)
                    self._count("packet_loss", len(step.lost_packets) / num_packets)
        self._count("degradation_db", _degradation_db(mixture.mixture, mixture.degraded))

    def _count(self, name: str, value: float) -> None:
        # The level of silence, and what follows from it, has no place among the others.
        if math.isfinite(value):
            self.histograms[name].add(value, QUANTITIES[name].step)

    def _add_residual(self, level_db: float, mixture_id: str) -> None:
        if math.isfinite(level_db):
            self._count("residual_db", level_db)
            self._keep_worst([(level_db, mixture_id)])
        else:
            self.exact_mixtures += 1

    def _keep_worst(self, residuals: Iterable[tuple[float, str]]) -> None:
        ranked = sorted([*self.worst_residuals, *residuals], key=lambda one: (-one[0], one[1]))
        self.worst_residuals = ranked[:_NUM_WORST]


def _fields(record: Any) -> Any:
    # Not dataclasses.asdict, which would count the items of a Counter.
    if isinstance(record, set):
        return sorted(record)
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def parse_measurements(text: str) -> Measurements:
    """Reads what `Measurements.to_json` writes."""
    document = json.loads(text)
    return Measurements(
        infos=[
            ShardInfo(**(info | {"shard": Shard(**info["shard"])})) for info in document["infos"]
        ],
        samples=Counter(document["samples"]),
        uses=document["uses"],
        histograms={name: RunningHistogram() for name in QUANTITIES}
        | {
            name: RunningHistogram(**(histogram | {"counts": _integer_keys(histogram["counts"])}))
            for name, histogram in document["histograms"].items()
        },
        max_sum_error=document["max_sum_error"],
        clipped_samples=document["clipped_samples"],
        silent_sources=document["silent_sources"],
        genders=Counter(document["genders"]),
        exact_mixtures=document["exact_mixtures"],
        worst_residuals=[(level_db, name) for level_db, name in document["worst_residuals"]],
        rejected={Rejected(**rejected) for rejected in document["rejected"]},
        drawn_channels=_integer_keys(document.get("drawn_channels", {})),
        turns=Counter(document.get("turns", {})),
    )


def _genders(recipe: Recipe) -> str:
    genders = {source.gender for source in recipe.sources}
    if "" in genders:
        return "unknown"
    return "one" if len(genders) == 1 else "both"


def residual_db(mixture: RenderedMixture) -> float:
    """Returns the level of what the sources leave over of a mixture, in dB relative to it.

    Minus infinity for a mixture that is the sum of its sources.
    """
    residual = mixture.mixture.astype(np.float32)
    power = max(float(np.vdot(residual, residual)), 1.0)
    for source in mixture.sources:
        np.subtract(residual, source, out=residual)
    left = float(np.vdot(residual, residual))
    return 10 * math.log10(left / power) if left else -math.inf


def _integer_keys(counts: Mapping[str, int]) -> Counter[int]:
    return Counter({int(key): count for key, count in counts.items()})


def _sum_error(mixture: RenderedMixture) -> int:
    """Returns the greatest difference of a mixture from the sum of its parts, in steps of PCM."""
    # Pair by pair: NumPy widens the operands as it adds them, but a whole stack beforehand.
    exact = mixture.sources[0].astype(np.int32)
    for part in (*mixture.sources[1:], *([] if mixture.noise is None else [mixture.noise])):
        np.add(exact, part, out=exact)
    if np.array_equal(exact, mixture.mixture):
        return 0
    return int(np.abs(exact - mixture.mixture).max())


def _loudness_lufs(mixture: RenderedMixture, index: int) -> float:
    """Returns the loudness of a source, its utterances joined without the silence around them."""
    rate = mixture.recipe.sample_rate
    stretches = []
    for source in mixture.recipe.rows[index]:
        start = round(source.offset_s * rate)
        stop = start + math.ceil(source.duration_s * rate)
        stretches.append(mixture.sources[index, start:stop])
    placed = np.concatenate(stretches)
    if not len(placed):
        return -math.inf
    return _lufs(placed, rate)


def _lufs(pcm: Pcm, sample_rate: int) -> float:
    return integrated_loudness_lufs(to_samples(pcm), sample_rate)


def _snr_db(mixture: Pcm, noise: Pcm) -> float:
    """Returns the power of the speech over that of the noise; not finite where one is silent."""
    noise_pcm = noise.astype(np.float32)
    return _ratio_db(mixture - noise_pcm, noise_pcm)


def _degradation_db(mixture: Pcm, degraded: Pcm) -> float:
    """Returns the power of a mixture over that of what changed; not finite where nothing did."""
    mixture_pcm = mixture.astype(np.float32)
    return _ratio_db(mixture_pcm, degraded - mixture_pcm)


def _ratio_db(signal: Samples, other: Samples) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10 * np.log10(np.vdot(signal, signal) / np.vdot(other, other)))


def _silence_ratio(mixture: RenderedMixture) -> float:
    frame = max(round(_FRAME_S * mixture.recipe.sample_rate), 1)
    num_frames = len(mixture.mixture) // frame
    if not num_frames:
        return 0.0
    # What is not silent is far away, even if it wraps around.
    above = (mixture.mixture[: num_frames * frame] + np.int16(_SILENCE_PCM)).view(np.uint16)
    silent = above <= 2 * _SILENCE_PCM
    return float(silent.reshape(num_frames, -1).all(axis=1).mean())

"""The values that a recipe configuration asks for, compared with those that were achieved."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.quality.measurements import QUANTITIES, Measurements
from schemas.quality import Expectation
from schemas.recipe_config import (
    Choices,
    Conversation,
    Distribution,
    LogNormal,
    NoiseConfig,
    Quantiles,
    RecipeConfig,
    SimulatedRooms,
    TransmissionStep,
    Uniform,
)

# The values of the steps of transmission, by their keys.
_TRANSMISSION = {
    "low_hz": "Lower edge of bands",
    "high_hz": "Upper edge of bands",
    "below_peak_db": "Clipping below the peak",
    "level_dbfs": "Level that automatic gains aim at",
    "kbps": "Bit rate of codecs",
    "packet_loss": "Packets lost",
}

# A share that is off by more than this is not off by rounding.
_TOLERANCE = 0.01


def compare_with_config(
    measurements: Measurements, config: RecipeConfig, genders: npt.NDArray[np.str_]
) -> tuple[Expectation, ...]:
    """Compares what is measured with the numbers in a recipe configuration.

    Args:
        measurements: of all shards.
        config: the recipes are drawn from it.
        genders: of all utterances, [utterances]; `f`, `m` or empty.
    """
    return (
        *_numbers(measurements, config),
        *_timing(measurements, config),
        *_levels(measurements, config),
        *(_turns(measurements, config, config.conversation) if config.conversation else ()),
        *_scene(measurements, config),
        *_transmission(measurements, config),
        *_genders(measurements, config.same_gender_share, genders),
    )


def _numbers(measurements: Measurements, config: RecipeConfig) -> Iterator[Expectation]:
    """Compares the shares of the mixtures of each number of speakers, if there are several."""
    asked, achieved = Counter(config.speaker_numbers), measurements.histograms["num_sources"].counts
    if len(asked) == 1 or not achieved:
        return
    yield Expectation("Speakers in a mixture", asked=_shares(asked), achieved=_shares(achieved))


def _shares(counts: Counter[int]) -> str:
    return ", ".join(
        f"{number} in {counts[number] / counts.total():.1%}" for number in sorted(counts)
    )


def _timing(measurements: Measurements, config: RecipeConfig) -> Iterator[Expectation]:
    if config.most_speakers == 1 or config.length != "max":
        return
    if config.offset_s is not None:
        yield from _compare(measurements, "Shift of a source", config.offset_s, "offset_s")
    if config.overlap_ratio is not None:
        note = ""
        if measurements.histograms["overlap_ratio"].low < config.overlap_ratio.low - _TOLERANCE:
            note = "; as near as the lengths of the utterances allow"
        title = "Time in which sources overlap"
        yield from _compare(measurements, title, config.overlap_ratio, "overlap_ratio", note)


def _levels(measurements: Measurements, config: RecipeConfig) -> Iterator[Expectation]:
    if config.level_kind == "loudness_lufs":
        yield from _compare(measurements, "Loudness of a source", config.level, "loudness_lufs")
    if config.level_kind == "relative_db" and config.most_speakers == 2:
        yield from _compare(
            measurements, "Level over the other", config.level, "level_difference_db"
        )


def _turns(
    measurements: Measurements, config: RecipeConfig, conversation: Conversation
) -> Iterator[Expectation]:
    yield from _compare(measurements, "Pause of a speaker", conversation.pause_s, "pause_s")
    yield from _compare(measurements, "Gap between speakers", conversation.gap_s, "gap_s")
    yield from _compare(
        measurements, "Overlap of speakers", conversation.overlap_s, "turn_overlap_s"
    )
    pauses, gaps, overlaps, backchannels = (
        measurements.turns[name] for name in ("pause_s", "gap_s", "turn_overlap_s", "backchannel_s")
    )
    changes = gaps + overlaps
    asked = conversation.overlap_probability
    yield from _share("Changes of speaker that overlap", asked, overlaps, changes)
    if conversation.pause_probability is not None:
        asked = conversation.pause_probability
        yield from _share("Turns after which the speaker goes on", asked, pauses, pauses + changes)
    if conversation.backchannels is not None:
        asked = conversation.backchannels.probability
        turns = measurements.turns.total()
        yield from _share("Turns inside another one", asked, backchannels, turns)
        longest = Uniform(0.0, conversation.backchannels.max_s)
        yield from _compare(measurements, "Length of such a turn", longest, "backchannel_s")
    if conversation.three_at_once is not None:
        yield Expectation(
            "Time in which three speak at once",
            asked=f"{conversation.three_at_once:.1%} of the speech",
            achieved=f"{measurements.histograms['three_at_once'].mean:.1%}",
        )
    if config.length != "max":
        return
    note = ""
    if measurements.histograms["speech_s"].low < conversation.speech_s / 2:
        note = "; who has fewer utterances takes fewer turns"
    yield Expectation(
        "Speech in a conversation",
        asked=f"about {conversation.speech_s:g} s",
        achieved=_achieved(measurements, "speech_s") + note,
    )
    if conversation.dominance is not None:
        yield Expectation(
            "Dominance",
            asked=f"mean {conversation.dominance:g}",
            achieved=_achieved(measurements, "dominance"),
        )


def _share(title: str, asked: float, count: int, total: int) -> Iterator[Expectation]:
    if total:
        yield Expectation(title, asked=f"{asked:.1%}", achieved=f"{count / total:.1%}")


def _scene(measurements: Measurements, config: RecipeConfig) -> Iterator[Expectation]:
    if config.noise is not None:
        yield from _noises(measurements, config.noise)
    if isinstance(config.rooms, SimulatedRooms):
        yield from _compare(measurements, "Reverberation time", config.rooms.rt60_s, "rt60_s")
    if config.speed is not None:
        yield from _compare(measurements, "Speed of an utterance", config.speed, "speed")
    if config.enrolment_s is not None:
        asked = Uniform(config.enrolment_s, config.enrolment_s)
        note = "; shorter ones are followed by silence"
        yield from _compare(measurements, "Speech in an enrolment", asked, "enrolment_s", note)


def _noises(measurements: Measurements, noise: NoiseConfig) -> Iterator[Expectation]:
    background, events = noise.background, noise.events
    if background is not None:
        names = {
            "snr_db": ("Sources over noise", "snr_db"),
            "loudness_lufs": ("Loudness of noise", "noise_lufs"),
        }
        if events is not None:
            names = {
                "snr_db": ("Sources over background noise", "background_snr_db"),
                "loudness_lufs": ("Loudness of background noise", "background_lufs"),
            }
        title, name = names[background.level_kind]
        yield from _compare(measurements, title, background.level, name)
    if events is None:
        return
    yield from _compare(measurements, "Noise events in a mixture", events.number, "num_events")
    names = {
        "snr_db": ("Sources over a noise event", "event_snr_db"),
        "loudness_lufs": ("Loudness of a noise event", "event_lufs"),
    }
    title, name = names[events.level_kind]
    yield from _compare(measurements, title, events.level, name)
    if events.length_s is not None:
        note = "; no longer than its file and its mixture"
        title = "Length of a noise event"
        yield from _compare(measurements, title, events.length_s, "event_length_s", note)
    if events.start_s is not None:
        note = "; early enough to fit into the mixture"
        title = "Start of a noise event"
        yield from _compare(measurements, title, events.start_s, "event_start_s", note)


def _transmission(measurements: Measurements, config: RecipeConfig) -> Iterator[Expectation]:
    channels = config.transmission or ()
    names = list(map(_describe_channel, channels))
    achieved = Counter(names[number] for number in measurements.drawn_channels.elements())
    for name, count in Counter(names).items():
        yield from _share(f"Channel: {name}", count / len(names), achieved[name], achieved.total())
    for name, title in _TRANSMISSION.items():
        ranges = [step.ranges[name] for steps in channels for step in steps if name in step.ranges]
        histogram = measurements.histograms[name]
        # What is always the same, the channels tell.
        always = set(ranges) == {Uniform(histogram.low, histogram.high)}
        if histogram.counts and not (always and histogram.low == histogram.high):
            unit = QUANTITIES[name].unit
            yield Expectation(
                title,
                asked=" or ".join(dict.fromkeys(_asked(one, unit) for one in ranges)),
                achieved=_achieved(measurements, name),
            )


def _describe_channel(steps: Sequence[TransmissionStep]) -> str:
    described = []
    for step in steps:
        values = [f"{name} {_asked(one, '')}".rstrip() for name, one in step.ranges.items()]
        in_brackets = f" ({', '.join(values)})" if values else ""
        described.append(step.kind.replace("_", " ") + in_brackets)
    return ", ".join(described) or "as it is"


def _genders(
    measurements: Measurements, share: float | None, genders: npt.NDArray[np.str_]
) -> Iterator[Expectation]:
    num_mixtures = measurements.genders.total()
    if share is None or not num_mixtures:
        return
    achieved = f"{measurements.genders['one'] / num_mixtures:.1%}"
    off = abs(measurements.genders["one"] - share * num_mixtures)
    # In a small dataset, one mixture more or less means nothing.
    if off > max(2, _TOLERANCE * num_mixtures):
        achieved += ", the nearest that the genders in the corpus make"
    if num_unknown := int((genders == "").sum()):
        achieved += f"; {num_unknown:,} utterances without a gender are left out"
    yield Expectation("Mixtures of one gender", asked=f"{share:.1%}", achieved=achieved)


def _compare(
    measurements: Measurements, title: str, distribution: Distribution, name: str, note: str = ""
) -> Iterator[Expectation]:
    if not measurements.histograms[name].counts:
        return
    middle = "median" if isinstance(distribution, LogNormal | Quantiles) else "mean"
    asked = _asked(distribution, QUANTITIES[name].unit)
    yield Expectation(title, asked=asked, achieved=_achieved(measurements, name, middle) + note)


def _asked(distribution: Distribution, unit: str) -> str:
    if isinstance(distribution, LogNormal):
        return f"median {distribution.median:g} {unit}, log-normal, sigma {distribution.sigma:g}"
    if isinstance(distribution, Quantiles):
        return f"median {float(np.median(distribution.values)):g} {unit}, by quantiles"
    if isinstance(distribution, Choices):
        return f"{', '.join(f'{value:g}' for value in distribution.values)} {unit}"
    ends = dict.fromkeys((f"{distribution.low:g}", f"{distribution.high:g}"))
    return f"{' to '.join(ends)} {unit}".rstrip()


def _achieved(measurements: Measurements, name: str, middle: str = "mean") -> str:
    quantity = QUANTITIES[name]
    histogram = measurements.histograms[name]
    value = histogram.median(quantity.step) if middle == "median" else histogram.mean
    span = f"{histogram.low:.2f} to {histogram.high:.2f} {quantity.unit}".rstrip()
    return f"{span}, {middle} {value:.2f}"

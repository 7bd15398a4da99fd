"""Recipe configurations: the ranges from which the recipes of a dataset are drawn."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from schemas.recipe import Channels, LevelKind
from schemas.transmission import CODECS, CodecName
from schemas.validation import InvalidDocumentError, load_document

VERSION = 1

_TIMING = ("offset_s", "overlap_ratio", "conversation")

# How many speakers it takes until a key of `conversation` has a meaning.
_LEAST_SPEAKERS = {"pause_probability": 2, "dominance": 2, "backchannels": 2, "three_at_once": 3}


@dataclasses.dataclass(frozen=True, slots=True)
class Uniform:
    """A range from which numbers are drawn evenly; with equal ends, a constant."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True)
class LogNormal:
    """A distribution of positive numbers whose logarithm is normally distributed.

    Attributes:
        median: of the numbers.
        sigma: the standard deviation of the natural logarithm.
    """

    median: float
    sigma: float


@dataclasses.dataclass(frozen=True, slots=True)
class Choices:
    """Numbers that are equally likely."""

    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Quantiles:
    """A distribution as it was measured.

    Attributes:
        values: the quantiles, ascending, of which the first is the least number and the last the
            greatest. Between two of them, numbers are equally likely, and so are the spans from
            each to the next.
    """

    values: tuple[float, ...]


Distribution = Uniform | LogNormal | Choices | Quantiles


@dataclasses.dataclass(frozen=True, slots=True)
class Backchannels:
    """The shortest turns, which lie entirely inside another speaker's turn.

    Attributes:
        probability: the share of all turns that are backchannels.
        max_s: the longest utterance that is used as one, in seconds.
    """

    probability: float
    max_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """The turn-taking of conversations.

    Attributes:
        speech_s: the approximate amount of speech in a conversation, of all speakers together.
        pause_s: the silence before the same speaker goes on.
        gap_s: the silence before another speaker begins.
        overlap_s: the time by which another speaker begins before the end of the present one.
        overlap_probability: the share of changes of speaker that have an overlap rather than a gap.
        pause_probability: how often the same speaker goes on rather than another one begins; None
            takes the utterances of all speakers in random order.
        dominance: how unevenly speakers share the floor: 0 if all speak equally long, 1 if one says
            everything; None leaves it to the lengths of the utterances.
        backchannels: None leaves them to chance.
        three_at_once: the time in which three speak over the time in which anyone does; None lets
            two speak at once at most.
    """

    speech_s: float
    pause_s: Distribution
    gap_s: Distribution
    overlap_s: Distribution
    overlap_probability: float
    pause_probability: float | None = None
    dominance: float | None = None
    backchannels: Backchannels | None = None
    three_at_once: float | None = None


DrawnNoiseLevel = Literal["loudness_lufs", "snr_db"]


@dataclasses.dataclass(frozen=True, slots=True)
class BackgroundNoise:
    """The noise under the whole of each mixture.

    Attributes:
        level_kind: as in `Noise`.
        level: the range of the level, in the unit that `level_kind` names.
        folders: the folders of the noise corpus that it is from; empty for all of it.
    """

    level_kind: DrawnNoiseLevel
    level: Uniform
    folders: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class NoiseEvents:
    """The sounds that begin and end within each mixture.

    Attributes:
        number: of events in a mixture; whole numbers.
        level_kind: as in `NoiseEvent`.
        level: the range of the level of each, in the unit that `level_kind` names.
        length_s: of each event in seconds, at most all of its file; None for all of it.
        start_s: of each event in the mixture, in seconds, but early enough for the mixture to have
            all of it; None for any time at which it has.
        folders: as for `BackgroundNoise`.
    """

    number: Distribution
    level_kind: DrawnNoiseLevel
    level: Uniform
    length_s: Distribution | None = None
    start_s: Distribution | None = None
    folders: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class NoiseConfig:
    """The noise of mixtures: a background, events, or both."""

    background: BackgroundNoise | None = None
    events: NoiseEvents | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class CleanEnough:
    """The limits of what an utterance may be like to be used; None sets none.

    Attributes:
        min_bandwidth_hz: of its sound, in Hz.
        min_snr_db: the power of the speech over that of the noise in the recording.
        max_clipped_share: the share of samples that are clipped.
        min_speech_share: the share of the time in which someone speaks.
    """

    min_bandwidth_hz: float | None = None
    min_snr_db: float | None = None
    max_clipped_share: float | None = None
    min_speech_share: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by their names."""
        values = {name: getattr(self, name) for name in CleanEnough.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True, slots=True)
class SimulatedRooms:
    """The ranges of the rooms of mixtures, in metres and seconds.

    Attributes:
        length_m: of the floor.
        width_m: of the floor.
        height_m: of the ceiling.
        rt60_s: the time in which sound decays by 60 dB.
        distance_m: from the microphone to each speaker.
    """

    length_m: Uniform
    width_m: Uniform
    height_m: Uniform
    rt60_s: Uniform
    distance_m: Uniform


@dataclasses.dataclass(frozen=True, slots=True)
class TransmissionStep:
    """One step of a channel of transmission, before its values are drawn.

    Attributes:
        kind: the key of the step, such as `band` or `opus`.
        ranges: what its values are drawn from, by their names, in the order of the names.
    """

    kind: str
    ranges: Mapping[str, Distribution]


@dataclasses.dataclass(frozen=True, slots=True)
class RecipeConfig:
    """The ranges and choices from which the recipes of a dataset are drawn.

    Exactly one of `offset_s`, `overlap_ratio` and `conversation` decides when sources start.

    Attributes:
        description: one sentence for people.
        num_speakers: the number of speakers in each mixture, 1 to 10; or numbers of which each is
            that of as many mixtures, and one that is there twice that of twice as many.
        offset_s: the start of each source after that of the one before it, in seconds.
        level_kind: as in `Source`, or `relative_db`: the RMS level of the first source over each
            other one.
        level: the range of the level, in the unit that `level_kind` names.
        length: of mixtures, in seconds; or `max` to end with the last source, `min` to end with
            the first one to end of those that still sound when the last one starts.
        sample_rate: at which mixtures are rendered, in Hz.
        channels: the treatment of the channels of each file.
        overlap_ratio: the time in which two or more sources sound over that in which any does.
        conversation: the turn-taking of speakers who have several utterances each.
        same_gender_share: the share of mixtures whose speakers are all of one gender, of those
            that have two or more; None leaves it to chance.
        max_utterances_per_speaker: the utterances of a speaker beyond this number are left out;
            None takes all.
        max_uses_per_shard: how often the mixtures of a shard use an utterance at most; None leaves
            it to the sizes of the shard and of the dataset.
        noise: the noise of each mixture, or None.
        rooms: `recorded` for those of a corpus, the ranges of simulated ones, or None.
        speed: the speed of each source relative to its recording, or None.
        transmission: the channels that mixtures go through, equally likely, each a list of steps;
            or None.
        clean_enough: what utterances are measured for and may be like; None measures nothing.
        enrolment_s: the length of another utterance of each speaker, in seconds; None leaves them
            out.

    Raises:
        InvalidDocumentError: two settings do not go together.
    """

    description: str
    num_speakers: int | tuple[int, ...]
    offset_s: Uniform | None
    level_kind: LevelKind | Literal["relative_db"]
    level: Uniform
    length: Literal["min", "max"] | float = "max"
    sample_rate: int = 16000
    channels: Channels = "average"
    overlap_ratio: Uniform | None = None
    conversation: Conversation | None = None
    same_gender_share: float | None = None
    max_utterances_per_speaker: int | None = None
    max_uses_per_shard: int | None = None
    noise: NoiseConfig | None = None
    rooms: Literal["recorded"] | SimulatedRooms | None = None
    speed: Distribution | None = None
    transmission: tuple[tuple[TransmissionStep, ...], ...] | None = None
    clean_enough: CleanEnough | None = None
    enrolment_s: float | None = None

    def __post_init__(self) -> None:
        timing = [name for name in _TIMING if getattr(self, name) is not None]
        if not timing:
            raise InvalidDocumentError(f"one of {', '.join(_TIMING)} is missing")
        if len(timing) > 1:
            raise InvalidDocumentError(f"{' and '.join(timing)} do not go together: give one")
        for name in ("overlap_ratio", "same_gender_share"):
            if self.most_speakers == 1 and getattr(self, name) is not None:
                raise InvalidDocumentError(f"{name} and num_speakers 1 do not go together")
        if self.conversation and self.length == "min":
            raise InvalidDocumentError(
                "conversation and length min do not go together: give max, or seconds"
            )
        self._check_conversation()
        if self.rooms is not None and self.channels == "stereo":
            raise InvalidDocumentError("rooms and channels stereo do not go together")
        if self.transmission is not None and self.channels == "stereo":
            raise InvalidDocumentError("transmission and channels stereo do not go together")
        bandwidth_hz = self.clean_enough and self.clean_enough.min_bandwidth_hz
        if bandwidth_hz and bandwidth_hz > self.sample_rate / 2:
            raise InvalidDocumentError(
                f"clean_enough.min_bandwidth_hz {bandwidth_hz:g} and sample_rate"
                f" {self.sample_rate} do not go together: mixtures have {self.sample_rate / 2:g} Hz"
                " at most"
            )

    @property
    def codecs(self) -> frozenset[CodecName]:
        """The codecs that mixtures may go through."""
        kinds = {step.kind for steps in self.transmission or () for step in steps}
        return frozenset(name for name in CODECS if name in kinds)

    def _check_conversation(self) -> None:
        for name, least in _LEAST_SPEAKERS.items():
            given = self.conversation and getattr(self.conversation, name) is not None
            if given and self.most_speakers < least:
                raise InvalidDocumentError(
                    f"conversation.{name} and num_speakers {self.most_speakers} do not go together:"
                    f" it takes {least} speakers"
                )

    @property
    def speaker_numbers(self) -> tuple[int, ...]:
        """The numbers of speakers, each as often as its share of the mixtures asks for."""
        return (self.num_speakers,) if isinstance(self.num_speakers, int) else self.num_speakers

    @property
    def most_speakers(self) -> int:
        """The number of speakers in the mixtures that have most."""
        return max(self.speaker_numbers)

    @property
    def has_silent_rows(self) -> bool:
        """True if mixtures may have fewer speakers than others."""
        return len(set(self.speaker_numbers)) > 1

    def to_document(self) -> dict[str, Any]:
        """Returns the JSON document that `parse_recipe_config` reads."""
        document: dict[str, Any] = {
            "version": VERSION,
            "description": self.description,
            "num_speakers": (
                self.num_speakers
                if isinstance(self.num_speakers, int)
                else {"choices": list(self.num_speakers)}
            ),
            "level": {self.level_kind: _range_document(self.level)},
            "length": self.length,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
        }
        if self.offset_s is not None:
            document["offset_s"] = _range_document(self.offset_s)
        if self.overlap_ratio is not None:
            document["overlap_ratio"] = _range_document(self.overlap_ratio)
        if self.conversation is not None:
            document["conversation"] = {
                name: _conversation_document(value)
                for name in Conversation.__slots__
                if (value := getattr(self.conversation, name)) is not None
            }
        for name in (
            *("same_gender_share", "max_utterances_per_speaker", "max_uses_per_shard"),
            "enrolment_s",
        ):
            if getattr(self, name) is not None:
                document[name] = getattr(self, name)
        if self.noise is not None:
            document["noise"] = _noise_document(self.noise)
        if isinstance(self.rooms, SimulatedRooms):
            ranges = {name: getattr(self.rooms, name) for name in SimulatedRooms.__slots__}
            document["rooms"] = {
                "simulated": {name: _range_document(one) for name, one in ranges.items()}
            }
        elif self.rooms is not None:
            document["rooms"] = self.rooms
        if self.speed is not None:
            document["speed"] = _range_document(self.speed)
        if self.transmission is not None:
            channels = [list(map(_step_document, steps)) for steps in self.transmission]
            document["transmission"] = channels[0] if len(channels) == 1 else {"choices": channels}
        if self.clean_enough is not None:
            document["clean_enough"] = self.clean_enough.limits
        return document


def parse_recipe_config(text: str | bytes, origin: str) -> RecipeConfig:
    """Reads a recipe configuration.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not a recipe configuration, a range that ends before it starts, or two
            settings that do not go together.
    """
    document = load_document(text, "recipe_config", origin)
    del document["version"]
    if isinstance(document["num_speakers"], dict):
        document["num_speakers"] = tuple(map(int, document["num_speakers"]["choices"]))
    else:
        document["num_speakers"] = int(document["num_speakers"])
    for name in ("offset_s", "overlap_ratio"):
        value = document.get(name)
        document[name] = None if value is None else _parse_range(value, f"{origin}: {name}")
    if "conversation" in document:
        conversation = document["conversation"]
        for name in ("pause_s", "gap_s", "overlap_s"):
            place = f"{origin}: conversation.{name}"
            conversation[name] = _parse_distribution(conversation[name], place)
        if "backchannels" in conversation:
            conversation["backchannels"] = Backchannels(**conversation["backchannels"])
        document["conversation"] = Conversation(**conversation)
    if "noise" in document:
        document["noise"] = _parse_noise(document["noise"], f"{origin}: noise")
    if isinstance(document.get("rooms"), dict):
        document["rooms"] = SimulatedRooms(
            **{
                name: _parse_range(value, f"{origin}: rooms.simulated.{name}")
                for name, value in document["rooms"]["simulated"].items()
            }
        )
    if "speed" in document:
        document["speed"] = _parse_distribution(document["speed"], f"{origin}: speed")
    if "transmission" in document:
        place = f"{origin}: transmission"
        document["transmission"] = _parse_transmission(document["transmission"], place)
    if "clean_enough" in document:
        document["clean_enough"] = CleanEnough(**document["clean_enough"])
    ((kind, level),) = document.pop("level").items()
    level = _parse_range(level, f"{origin}: level.{kind}")
    try:
        return RecipeConfig(**document, level_kind=kind, level=level)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"{origin}: {error}") from None


def _parse_noise(document: dict[str, Any], place: str) -> NoiseConfig:
    if not document.keys() & {"background", "events"}:
        return NoiseConfig(BackgroundNoise(**_parse_noise_level(document, place)))
    background = events = None
    if "background" in document:
        fields = _parse_noise_level(document["background"], f"{place}.background")
        background = BackgroundNoise(**fields)
    if "events" in document:
        events = NoiseEvents(**_parse_noise_level(document["events"], f"{place}.events"))
    return NoiseConfig(background, events)


def _parse_noise_level(document: dict[str, Any], place: str) -> dict[str, Any]:
    """Returns the fields of a kind of noise, whose level is under the name of its kind."""
    fields: dict[str, Any] = {}
    kinds = [name for name in get_args(DrawnNoiseLevel) if name in document]
    if len(kinds) != 1:
        named = " and ".join(get_args(DrawnNoiseLevel))
        problem = "do not go together: give one" if kinds else "are missing: give one"
        raise InvalidDocumentError(f"{place}: {named} {problem}")
    for name, value in document.items():
        if name in get_args(DrawnNoiseLevel):
            fields |= {"level_kind": name, "level": _parse_range(value, f"{place}.{name}")}
        elif name == "folders":
            fields[name] = tuple(folder.strip("/") for folder in value)
        else:
            fields[name] = _parse_distribution(value, f"{place}.{name}")
    return fields


def _noise_document(noise: NoiseConfig) -> dict[str, Any]:
    kinds = {"background": noise.background, "events": noise.events}
    document = {name: _noise_kind_document(kind) for name, kind in kinds.items() if kind}
    # A background alone has a short form.
    if noise.background and not noise.events and not noise.background.folders:
        return document["background"]
    return document


def _noise_kind_document(kind: BackgroundNoise | NoiseEvents) -> dict[str, Any]:
    document: dict[str, Any] = {kind.level_kind: _range_document(kind.level)}
    if kind.folders:
        document["folders"] = list(kind.folders)
    if isinstance(kind, NoiseEvents):
        for name in ("number", "length_s", "start_s"):
            if (value := getattr(kind, name)) is not None:
                document[name] = _range_document(value)
    return document


def _parse_transmission(
    document: Sequence[Any] | Mapping[str, Any], place: str
) -> tuple[tuple[TransmissionStep, ...], ...]:
    channels = document["choices"] if isinstance(document, Mapping) else [document]
    return tuple(tuple(_parse_step(step, place) for step in steps) for steps in channels)


def _parse_step(document: Mapping[str, Mapping[str, Any]], place: str) -> TransmissionStep:
    ((kind, values),) = document.items()
    # Values are drawn one after the other, and the same document in another order is the same.
    ranges = {
        name: _parse_distribution(values[name], f"{place}: {kind}.{name}")
        for name in sorted(values)
    }
    if kind == "band" and _ends(ranges["low_hz"])[1] >= _ends(ranges["high_hz"])[0]:
        raise InvalidDocumentError(f"{place}: band: low_hz is not always below high_hz")
    return TransmissionStep(kind, ranges)


def _step_document(step: TransmissionStep) -> dict[str, Any]:
    return {step.kind: {name: _range_document(one) for name, one in step.ranges.items()}}


def _ends(distribution: Distribution) -> tuple[float, float]:
    """Returns the least and the greatest number that can be drawn."""
    if isinstance(distribution, Choices):
        return min(distribution.values), max(distribution.values)
    if isinstance(distribution, Uniform):
        return distribution.low, distribution.high
    return 0.0, math.inf


def _parse_distribution(value: Any, place: str) -> Distribution:
    if isinstance(value, dict) and "lognormal" in value:
        return LogNormal(**value["lognormal"])
    if isinstance(value, dict) and "choices" in value:
        return Choices(tuple(value["choices"]))
    if isinstance(value, dict) and "quantiles" in value:
        values = tuple(value["quantiles"])
        if values != tuple(sorted(values)):
            raise InvalidDocumentError(
                f"{place}: the quantiles are not in ascending order: {json.dumps(value)}"
            )
        return Quantiles(values)
    return _parse_range(value, place)


def _parse_range(value: float | dict[str, list[float]], place: str) -> Uniform:
    low, high = value["uniform"] if isinstance(value, dict) else (value, value)
    if low > high:
        raise InvalidDocumentError(f"{place}: the range ends before it starts: {json.dumps(value)}")
    return Uniform(low, high)


def _conversation_document(value: Distribution | Backchannels | float) -> float | dict[str, Any]:
    if isinstance(value, Backchannels):
        return dataclasses.asdict(value)
    return value if isinstance(value, int | float) else _range_document(value)


def _range_document(value: Distribution) -> float | dict[str, Any]:
    if isinstance(value, LogNormal):
        return {"lognormal": {"median": value.median, "sigma": value.sigma}}
    if isinstance(value, Choices):
        return {"choices": list(value.values)}
    if isinstance(value, Quantiles):
        return {"quantiles": list(value.values)}
    return value.low if value.low == value.high else {"uniform": [value.low, value.high]}

"""Channels of transmission: the steps that a mixture goes through on its way to a listener."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

CodecName = Literal["mu_law", "a_law", "gsm", "amr_nb", "opus", "mp3"]
"""G.711 with its two laws, GSM full rate (6.10), AMR narrowband, Opus, and MP3."""

PACKET_S = 0.02
"""What a packet has of a mixture, in seconds, with every codec whose packets can be lost."""


@dataclasses.dataclass(frozen=True, slots=True)
class Band:
    """A filter that leaves a band of frequencies, in Hz."""

    low_hz: float
    high_hz: float


@dataclasses.dataclass(frozen=True, slots=True)
class Clipping:
    """What is higher than the peak of the mixture less so many dB is cut off."""

    below_peak_db: float


@dataclasses.dataclass(frozen=True, slots=True)
class AutomaticGain:
    """A gain that follows the speech, to bring it to an RMS level."""

    level_dbfs: float


@dataclasses.dataclass(frozen=True, slots=True)
class Codec:
    """Encoding, packets that get lost, and decoding.

    Attributes:
        name: of the codec.
        kbps: the bit rate in kbit/s, where the codec has several.
        lost_packets: their numbers, ascending, from 0; each has `PACKET_S`.
    """

    name: CodecName
    kbps: float | None = None
    lost_packets: tuple[int, ...] = ()


Step = Band | Clipping | AutomaticGain | Codec

_KINDS: Mapping[str, type[Band | Clipping | AutomaticGain]] = {
    "band": Band,
    "clipping": Clipping,
    "automatic_gain": AutomaticGain,
}
CODECS: tuple[CodecName, ...] = get_args(CodecName)


def step_kind(step: Step) -> str:
    """Returns the key of a step in a recipe, such as `band` or `mu_law`."""
    if isinstance(step, Codec):
        return step.name
    return next(kind for kind, record in _KINDS.items() if isinstance(step, record))


def make_step(kind: str, values: Mapping[str, Any]) -> Step:
    """Returns the step with a key and with values as they are in a recipe."""
    for name in CODECS:
        if name == kind:
            return Codec(name, values.get("kbps"), tuple(values.get("lost_packets", ())))
    return _KINDS[kind](**values)


def steps_document(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Returns the JSON document of the steps of a recipe."""
    document = []
    for step in steps:
        values = dataclasses.asdict(step)
        if isinstance(step, Codec):
            values = {key: value for key, value in values.items() if key != "name" and value}
        document.append({step_kind(step): values})
    return document


def parse_steps(document: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Reads what `steps_document` returns, once it has been checked against the schema."""
    return tuple(make_step(kind, values) for one in document for kind, values in one.items())

"""The ledger of an archive: a small file for each recording that has been separated."""

import dataclasses
import json
from typing import Any, Literal

from schemas.validation import load_document

VERSION = 2

LEDGER = "_ledger"
RUNS = "_runs"
REJECTED = "rejected.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"
SEGMENTS = "segments.jsonl"
CUTS = "cuts.jsonl"

AudioFormat = Literal["wav", "flac", "opus"]


@dataclasses.dataclass(frozen=True, slots=True)
class InputVersion:
    """A version of a file, by which a change is noticed without reading it.

    Attributes:
        size: in bytes.
        modified_s: the time of the last change, in seconds since 1970.
        checksum: as the file system keeps it; empty for local files.
    """

    size: int
    modified_s: float
    checksum: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """The options that decide the outputs, besides the input and the model.

    Attributes:
        channels: `mix` gives the model all channels at once, mixed down if it takes fewer; `each`
            separates every channel alone; `keep` does as `mix` does, and then gives the outputs the
            channels of the input.
        audio_format: of the outputs.
        sample_rate: of the outputs: the model's or the input's.
        name_template: of the outputs' paths.
        rttm: whether to write who speaks when, too.
        gate: whether to silence each output where its speaker does not speak; only for models
            whose outputs may swap.
    """

    channels: Literal["mix", "each", "keep"] = "mix"
    audio_format: AudioFormat = "wav"
    sample_rate: Literal["input", "model"] = "input"
    name_template: str = "{folder}/{stem}_{source}.{extension}"
    rttm: bool = False
    gate: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """A file that was written.

    Attributes:
        path: relative to the archive's output folder.
        size: in bytes.
    """

    path: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Voices:
    """The voices of one signal, as found in the outputs of a model that may swap them.

    Attributes:
        number: of people who speak; outputs after so many are silent.
        more_than_outputs: whether more people speak than the model has outputs.
        confidence: the probability that a second of speech is in the right output, 0 to 1.
        changes_in_windows: how often the order of the outputs changes inside a window.
    """

    number: int
    more_than_outputs: bool
    confidence: float
    changes_in_windows: int


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerRecord:
    """A recording that has been separated.

    Attributes:
        path: of the recording, as the job was given it.
        version: of the recording, the same before and after it was read.
        model: the model's name, for people.
        model_fingerprint: identifies the model.
        parameters: the options that decide the outputs.
        sample_rate: of the recording, in Hz.
        num_frames: its samples in each channel.
        num_channels: its channels.
        gain_db: the gain before it was separated: 0, or less if it exceeds full scale.
        num_windows: the number of windows that went through the model.
        outputs: the audio files, in the order of the model's sources.
        rttm: the file of who speaks when, if it was asked for.
        voices: of each separated signal if the model's outputs may swap; else none.
        model_s: the time that the model took, in seconds.
        finished: the time at which the outputs were complete, UTC, ISO 8601.
    """

    path: str
    version: InputVersion
    model: str
    model_fingerprint: str
    parameters: Parameters
    sample_rate: int
    num_frames: int
    num_channels: int
    gain_db: float
    num_windows: int
    outputs: tuple[Output, ...]
    rttm: Output | None
    voices: tuple[Voices, ...]
    model_s: float
    finished: str

    @property
    def duration_s(self) -> float:
        """The length of the recording in seconds."""
        return self.num_frames / self.sample_rate

    @property
    def num_voices(self) -> int | None:
        """The number of people who speak, in all signals together; None if that is not known."""
        return sum(one.number for one in self.voices) if self.voices else None

    @property
    def has_more_voices(self) -> bool:
        """Whether more people speak in one of the signals than the model has outputs."""
        return any(one.more_than_outputs for one in self.voices)

    @property
    def confidence(self) -> float | None:
        """The confidence of the least certain signal in which anyone speaks; None without one."""
        return min((one.confidence for one in self.voices if one.number), default=None)

    @property
    def files(self) -> tuple[Output, ...]:
        """All files that were written for the recording."""
        return self.outputs if self.rttm is None else (*self.outputs, self.rttm)

    def to_json(self) -> str:
        """Returns the content of the ledger's file."""
        document = dataclasses.asdict(self)
        document["input"] = document.pop("version")
        return json.dumps({"version": VERSION} | document, indent=1) + "\n"


def parse_ledger_record(text: str | bytes, origin: str) -> LedgerRecord:
    """Reads what `LedgerRecord.to_json` writes, now or in version 1.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not a record of a ledger, or one of another version.
    """
    document = load_document(text, "ledger", origin)
    if document["version"] == 1:
        _upgrade(document)
    document["version"] = InputVersion(**document.pop("input"))
    document["parameters"] = Parameters(**document["parameters"])
    document["outputs"] = tuple(Output(**output) for output in document["outputs"])
    rttm = document["rttm"]
    document["rttm"] = None if rttm is None else Output(**rttm)
    document["voices"] = tuple(Voices(**one) for one in document["voices"])
    return LedgerRecord(**document)


def _upgrade(document: dict[str, Any]) -> None:
    """Makes a document of version 1 one of today, so that no archive is separated again for it.

    The outputs of joint models, which version 1 put in order by their overlap, have other model
    fingerprints now.
    """
    document.pop("alignments", None)
    document["voices"] = []
    document["gain_db"] = 0.0
    if "rttm" not in document:
        has_rttm = document["parameters"]["rttm"]
        document["rttm"] = document["outputs"].pop() if has_rttm else None

"""The ledger of an archive: one small file for each recording that has been separated."""

import dataclasses
import json
from typing import Literal

from schemas.validation import load_document

VERSION = 1

LEDGER = "_ledger"
RUNS = "_runs"
REJECTED = "rejected.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"

AudioFormat = Literal["wav", "flac", "opus"]


@dataclasses.dataclass(frozen=True, slots=True)
class InputVersion:
    """What tells one version of a file from another.

    Attributes:
        size: in bytes.
        modified_s: when it was last changed, in seconds since 1970.
        checksum: what the file system knows of its content; empty on a local one.
    """

    size: int
    modified_s: float
    checksum: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """What, besides the input and the model, decides the outputs.

    Attributes:
        channels: `mix` gives the model all channels at once, mixed down where it takes fewer;
            `each` separates every channel by itself.
        audio_format: of the outputs.
        sample_rate: of the outputs: the model's or the input's.
        name_template: of the outputs' paths.
        rttm: whether a time line of who speaks when is written too.
    """

    channels: Literal["mix", "each"] = "mix"
    audio_format: AudioFormat = "wav"
    sample_rate: Literal["input", "model"] = "input"
    name_template: str = "{folder}/{stem}_{source}.{extension}"
    rttm: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """One file that was written.

    Attributes:
        path: relative to the archive's output folder.
        size: in bytes.
    """

    path: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Alignment:
    """How the windows of one signal, whose outputs may swap, were put in order.

    Attributes:
        overlap: windows that their overlap with the one before decided.
        spectrum: windows that the outputs' long-term spectra decided.
        kept: windows where nothing told, and the order was kept.
        min_overlap_margin: the smallest correlation margin of those that the overlap decided, 0 to
            2; null where there are none.
        min_spectrum_margin_db: the same, in dB, of those that the spectra decided.
    """

    overlap: int
    spectrum: int
    kept: int
    min_overlap_margin: float | None
    min_spectrum_margin_db: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerRecord:
    """One recording that has been separated.

    Attributes:
        path: of the recording, as the job was given it.
        version: of the recording, before and after it was read.
        model: the model's name, for people.
        model_fingerprint: what decides whether two models are the same.
        parameters: all else that decides the outputs.
        sample_rate: of the recording, in Hz.
        num_frames: its samples in each channel.
        num_channels: its channels.
        num_windows: how many windows went through the model.
        outputs: the audio files, in the order of the model's sources.
        rttm: the file of who speaks when, if it was asked for.
        alignments: for each separated signal of a model whose outputs may swap; else none.
        model_s: how long the model computed, in seconds.
        finished: when, UTC, ISO 8601.
    """

    path: str
    version: InputVersion
    model: str
    model_fingerprint: str
    parameters: Parameters
    sample_rate: int
    num_frames: int
    num_channels: int
    num_windows: int
    outputs: tuple[Output, ...]
    rttm: Output | None
    alignments: tuple[Alignment, ...]
    model_s: float
    finished: str

    @property
    def duration_s(self) -> float:
        """The length of the recording in seconds."""
        return self.num_frames / self.sample_rate

    @property
    def files(self) -> tuple[Output, ...]:
        """All files that were written for the recording."""
        return self.outputs if self.rttm is None else (*self.outputs, self.rttm)

    def to_json(self) -> str:
        """The content of the ledger's file."""
        document = dataclasses.asdict(self)
        document["input"] = document.pop("version")
        return json.dumps({"version": VERSION} | document, indent=1) + "\n"


def parse_ledger_record(text: str | bytes, origin: str) -> LedgerRecord:
    """Reads what `LedgerRecord.to_json` writes, now or before it had a place for the RTTM file.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not a record of a ledger, or one of another version.
    """
    document = load_document(text, "ledger", origin)
    document["version"] = InputVersion(**document.pop("input"))
    document["parameters"] = Parameters(**document["parameters"])
    outputs = [Output(**output) for output in document["outputs"]]
    if "rttm" in document:
        rttm = document["rttm"]
        document["rttm"] = None if rttm is None else Output(**rttm)
    else:
        # Older records have it as the last output. Separating an archive again would be worse.
        document["rttm"] = outputs.pop() if document["parameters"].rttm else None
    document["outputs"] = tuple(outputs)
    document["alignments"] = tuple(Alignment(**one) for one in document["alignments"])
    return LedgerRecord(**document)

"""A model bundle: a folder with everything that separating with a trained model takes.

`saved_model/` is a TensorFlow SavedModel that `tf.saved_model.load` reads without this project. Its
default signature takes `waveform`, float32 [batch, samples, channels] in -1..1 with any number of
samples, and returns `sources`, float32 [batch, sources, samples, channels]. `bundle.json` is the
rest.

A bundle may have `upper_band/`, a second SavedModel that shares what a recording has above the
model's band among its outputs. Its default signature takes `upper`, float32 [batch, samples] at
`upper_band.sample_rate`, which is what resampling to the model's rate and back takes away from
the recording, and `sources`, float32 [batch, sources, samples], the outputs at the model's rate;
both begin at the same time, and last the same whole number of steps. It returns `shares`, float32
[batch, sources, frames, bands] in 0..1, where a frame is centred on each multiple of the step.

Version 3 of `bundle.json` adds `upper_band`, and version 2 `provenance.training`. Earlier ones are
still read: what they lack is None then. In version 1, `configuration` also has the settings of
`training.train`, and the metrics keep their names.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from schemas.validation import InvalidDocumentError, load_document

VERSION = 3

BUNDLE = "bundle.json"
SAVED_MODEL = "saved_model"
UPPER_BAND = "upper_band"

NETWORK_KEYS = (
    "mix_name",
    "instrument_list",
    "sample_rate",
    "frame_length",
    "frame_step",
    "T",
    "F",
    "n_channels",
    "separation_exponent",
    "mask_extension",
    "model",
)
"""The keys of Spleeter's configuration that describe a model; the others describe its training."""


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingData:
    """A corpus or a mixture dataset that a model was trained on.

    Attributes:
        name: of the corpus or the dataset.
        use: its part in the training.
        licence: as its publisher names it; empty where unknown.
        hours: of audio, in all splits together; None where unknown.
        speakers: the number of speakers in each split; empty where unknown.
    """

    name: str
    use: Literal["speech", "noise", "mixtures"]
    licence: str = ""
    hours: float | None = None
    speakers: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Training:
    """The training of a model.

    Attributes:
        trainer: the module that trained it, such as `training.train`.
        settings: those of the run, under the trainer's own names.
        hours_heard: hours of mixtures in all training steps together.
        data: what it was trained on.
        start_from: the bundle whose weights training began with; empty for random weights.
    """

    trainer: str
    settings: Mapping[str, Any]
    hours_heard: float
    data: tuple[TrainingData, ...] = ()
    start_from: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a model.

    Attributes:
        dataset_fingerprint: identifies the data that it was trained on.
        commit: of this project; empty where unknown.
        steps: training steps done.
        created: when the bundle was written, UTC, ISO 8601.
        training: how it was trained; None where unknown.
    """

    dataset_fingerprint: str
    commit: str
    steps: int
    created: str
    training: Training | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class UpperBand:
    """The network that shares what is above the model's band among its outputs.

    Attributes:
        sample_rate: of the recording that it hears, in Hz.
        step_s: from one spectrum to the next, half the length of one, in seconds.
        edges_hz: of the bands that it shares, ascending. The first and the last band go on to
            the ends of the spectrum.
        provenance: the origin of the network.
    """

    sample_rate: int
    step_s: float
    edges_hz: tuple[float, ...]
    provenance: Provenance


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """The content of `bundle.json`.

    Attributes:
        name: the model's name in reports and ledgers.
        sample_rate: in Hz.
        num_channels: of the waveform and of each output.
        num_sources: the number of outputs.
        source_names: of the outputs, in order.
        aligned: each output means the same in every window. The outputs of a joint model are not
            aligned: they may swap from one window to the next.
        architecture: `model.type` of the configuration.
        window_s: the recommended length of a window in seconds.
        context_s: seconds at each edge of a window in which the outputs are unreliable.
        configuration: the `NETWORK_KEYS` of Spleeter's JSON.
        metrics: by name, such as `validation_si_sdri_db`.
        provenance: the origin of the model.
        upper_band: describes the network beside it, if there is one.
    """

    name: str
    sample_rate: int
    num_channels: int
    num_sources: int
    source_names: tuple[str, ...]
    aligned: bool
    architecture: str
    window_s: float
    context_s: float
    configuration: dict[str, Any]
    metrics: dict[str, Any]
    provenance: Provenance
    upper_band: UpperBand | None = None

    def to_json(self) -> str:
        """Returns the content of `bundle.json`."""
        return json.dumps({"version": VERSION} | dataclasses.asdict(self), indent=1) + "\n"


def parse_bundle(text: str | bytes, origin: str) -> Bundle:
    """Reads a bundle description of any version up to `VERSION`.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not a bundle description, one of another version, or one that
            contradicts itself.
    """
    document = load_document(text, "bundle", origin)
    del document["version"]
    document["source_names"] = tuple(document["source_names"])
    provenance = document["provenance"]
    provenance["training"] = parse_training(provenance.get("training"))
    document["provenance"] = Provenance(**provenance)
    document["upper_band"] = _parse_upper_band(document.get("upper_band"))
    bundle = Bundle(**document)
    if len(bundle.source_names) != bundle.num_sources:
        raise InvalidDocumentError(
            f"{origin}: {len(bundle.source_names)} source_names for {bundle.num_sources} sources"
        )
    if 2 * bundle.context_s >= bundle.window_s:
        raise InvalidDocumentError(
            f"{origin}: window_s {bundle.window_s:g} leaves nothing between two edges of "
            f"context_s {bundle.context_s:g}"
        )
    upper = bundle.upper_band
    if upper is not None and list(upper.edges_hz) != sorted(set(upper.edges_hz)):
        raise InvalidDocumentError(f"{origin}: the edges_hz of upper_band do not ascend")
    return bundle


def _parse_upper_band(document: Mapping[str, Any] | None) -> UpperBand | None:
    if document is None:
        return None
    provenance = Provenance(**document["provenance"])
    edges_hz = tuple(document["edges_hz"])
    return UpperBand(**{**document, "edges_hz": edges_hz, "provenance": provenance})


def parse_training(document: Mapping[str, Any] | None) -> Training | None:
    """Returns the training that `dataclasses.asdict` made a document of; None stays None."""
    if document is None:
        return None
    data = tuple(TrainingData(**one) for one in document["data"])
    return Training(**{**document, "data": data})

"""A model bundle: a folder with all that separating with a trained model takes.

`saved_model/` is a TensorFlow SavedModel that `tf.saved_model.load` reads without this project. Its
default signature takes `waveform`, float32 [batch, samples, channels] in -1..1 with any number of
samples, and returns `sources`, float32 [batch, sources, samples, channels]. `bundle.json` is the
rest.
"""

import dataclasses
import json
from typing import Any

from schemas.validation import InvalidDocumentError, load_document

VERSION = 1

BUNDLE = "bundle.json"
SAVED_MODEL = "saved_model"


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from.

    Attributes:
        dataset_fingerprint: of the dataset that it was trained on.
        commit: of this project; empty where unknown.
        steps: training steps done.
        created: when the bundle was written, UTC, ISO 8601.
    """

    dataset_fingerprint: str
    commit: str
    steps: int
    created: str


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """The content of `bundle.json`.

    Attributes:
        name: what the model is called in reports and ledgers.
        sample_rate: in Hz.
        num_channels: of the waveform and of each output.
        num_sources: the number of outputs.
        source_names: of the outputs, in order.
        aligned: whether each output means the same in every window; the outputs of a joint model
            may swap from one window to the next.
        architecture: `model.type` of the configuration.
        window_s: the recommended length of a window in seconds.
        context_s: how much at each edge of a window is not to be trusted, in seconds.
        configuration: Spleeter's JSON, as trained with.
        metrics: by name, such as `validation_si_sdri_db`.
        provenance: where the model comes from.
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

    def to_json(self) -> str:
        """The content of `bundle.json`."""
        return json.dumps({"version": VERSION} | dataclasses.asdict(self), indent=1) + "\n"


def parse_bundle(text: str | bytes, origin: str) -> Bundle:
    """Reads what `Bundle.to_json` writes.

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
    document["provenance"] = Provenance(**document["provenance"])
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
    return bundle

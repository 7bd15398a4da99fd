"""A voice model: a folder with a speaker embedding, which bundles share.

`saved_model/` is a TensorFlow SavedModel that `tf.saved_model.load` reads without this project. Its
default signature takes `waveform`, float32 [batch, samples] of one speaker each, of at least one
sample and at any level, and returns `embedding`, float32 [batch, dimension], of length 1: the
scalar product of two embeddings is near 1 for one voice, and near 0 for two. `voices.json`
describes the model.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from schemas.bundle import SAVED_MODEL
from schemas.validation import load_document

VERSION = 1

VOICES = "voices.json"

__all__ = ["SAVED_MODEL", "VOICES", "Provenance", "VoiceModel", "parse_voice_model"]


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a voice model.

    Attributes:
        dataset_fingerprint: of all datasets that it was trained on, with spaces between them.
        commit: of this project; empty where unknown.
        steps: training steps done.
        created: when the model was written, UTC, ISO 8601.
    """

    dataset_fingerprint: str
    commit: str
    steps: int
    created: str


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceModel:
    """The content of `voices.json`.

    Attributes:
        name: of the model in reports and ledgers.
        sample_rate: of the waveform, in Hz.
        dimension: numbers in an embedding.
        min_duration_s: speech that is shorter is repeated until it is as long.
        configuration: as trained with.
        metrics: equal error rates, from 0 to 1, by dataset, kind of speech and kind of pairs.
        provenance: where the model comes from.
    """

    name: str
    sample_rate: int
    dimension: int
    min_duration_s: float
    configuration: dict[str, Any]
    metrics: Mapping[str, float]
    provenance: Provenance

    def to_json(self) -> str:
        """The content of `voices.json`."""
        return json.dumps({"version": VERSION} | dataclasses.asdict(self), indent=1) + "\n"


def parse_voice_model(text: str | bytes, origin: str) -> VoiceModel:
    """Reads what `VoiceModel.to_json` writes.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not the description of a voice model, or one of another version.
    """
    document = load_document(text, "voice_model", origin)
    del document["version"]
    document["provenance"] = Provenance(**document["provenance"])
    return VoiceModel(**document)

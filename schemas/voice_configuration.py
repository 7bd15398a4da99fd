"""The configuration of a network that embeds voices, and of its training."""

import dataclasses
import json
from typing import Any

from schemas.validation import InvalidDocumentError, load_document

VERSION = 1

_LISTS = ("crops_s", "speeds", "noise_db")


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceConfiguration:
    """The content of a configuration.

    Attributes:
        sample_rate: in Hz.
        frame_length: of a spectrum, in samples.
        frame_step: from one spectrum to the next, in samples.
        num_bands: mel bands of a spectrum.
        band_filters: of the two-dimensional convolutions.
        num_channels: of the convolutions in time.
        num_blocks: of convolutions in time at a quarter of the frame rate.
        dimension: numbers in an embedding.
        margin: how much closer a crop must be to its own voice than to all others, in cosine.
        margin_steps: the steps in which the margin grows from 0.
        scale: of the cosines in the loss.
        crops_s: the lengths of the crops; one is drawn for each batch.
        batch_s: seconds of speech in a batch.
        separated_share: of the crops, where the speaker has been separated from another one.
        speeds: at which speech is played; a speaker at another speed is another voice.
        equaliser_db: the standard deviation of the random frequency response of a crop.
        telephone_share: of the crops, limited to the band of a telephone.
        room_share: of the crops, in a room that is simulated.
        noise_share: of the crops, with noise or, as often, the remains of another voice.
        noise_db: how loud that is next to the voice, from the softest to the loudest.
        learning_rate: the highest; it falls to 0 in half a cosine.
        weight_decay: of AdamW.
        num_steps: of the whole training.
        warmup_steps: in which the learning rate rises from 0.
        random_seed: the same seed gives the same batches.
    """

    sample_rate: int
    frame_length: int
    frame_step: int
    num_bands: int
    band_filters: int
    num_channels: int
    num_blocks: int
    dimension: int
    margin: float
    margin_steps: int
    scale: float
    crops_s: tuple[float, ...]
    batch_s: float
    separated_share: float
    speeds: tuple[float, ...]
    equaliser_db: float
    telephone_share: float
    room_share: float
    noise_share: float
    noise_db: tuple[float, float]
    learning_rate: float
    weight_decay: float
    num_steps: int
    warmup_steps: int
    random_seed: int

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document."""
        fields = dataclasses.asdict(self)
        lists = {name: list(fields[name]) for name in _LISTS}
        return {"version": VERSION} | fields | lists

    def to_json(self) -> str:
        """The document as text."""
        return json.dumps(self.document, indent=2) + "\n"


def parse_voice_configuration(text: str | bytes, origin: str) -> VoiceConfiguration:
    """Reads what `VoiceConfiguration.to_json` writes.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: not a configuration, or one that contradicts itself.
    """
    document = load_document(text, "voice_configuration", origin)
    del document["version"]
    for name in _LISTS:
        document[name] = tuple(document[name])
    configuration = VoiceConfiguration(**document)
    if configuration.batch_s < 2 * max(configuration.crops_s):
        raise InvalidDocumentError(
            f"{origin}: batch_s {configuration.batch_s:g} holds fewer than two crops of "
            f"{max(configuration.crops_s):g} s"
        )
    return configuration

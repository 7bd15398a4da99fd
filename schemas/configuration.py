"""Training configurations: Spleeter's own JSON, whose keys keep their names and their meaning.

See https://github.com/deezer/spleeter/wiki/3.-Models#model-configuration. This project adds
`dynamic_remixing`, `mixture`, `gradient_clip_norm`, `learning_rate_warmup_steps`,
`weight_averaging` and the two `..._patience`, all optional.
"""

import dataclasses
import functools
import json
from collections.abc import Collection
from importlib import resources
from typing import Any, Literal

from schemas.validation import (
    InvalidDocumentError,
    check_document,
    describe_unknown_keys,
    name_keys,
    parse_json,
)

_UNET_PARAMS = ("conv_n_filters", "conv_activation", "deconv_activation")

ARCHITECTURE_PARAMS = {
    "unet.unet": _UNET_PARAMS,
    "unet.softmax_unet": _UNET_PARAMS,
    "blstm.blstm": ("lstm_units",),
    "joint.blstm": ("lstm_units", "num_layers"),
    "joint.attentive_grid": (
        "frame_length",
        "frame_step",
        "band_width",
        "num_filters",
        "num_hidden",
        "num_blocks",
        "num_heads",
    ),
    "joint.tcn": ("num_filters", "num_hidden", "num_blocks", "num_repeats"),
    "joint.tasnet": (
        "encoder_filters",
        "encoder_length",
        "joined_frames",
        "num_filters",
        "num_hidden",
        "num_blocks",
        "num_repeats",
    ),
}
"""The keys of `model.params` that each known architecture reads."""

_UNET_STRIDE = 64


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A model and its training; each attribute but the first is the key of the same name.

    Attributes:
        document: the whole JSON document, as Spleeter reads it.
    """

    document: dict[str, Any]
    instrument_list: tuple[str, ...]
    sample_rate: int
    frame_length: int
    frame_step: int
    T: int
    F: int
    n_channels: int
    separation_exponent: float
    mask_extension: Literal["average", "zeros"]
    learning_rate: float
    train_max_steps: int
    throttle_secs: float
    random_seed: int
    save_checkpoints_steps: int
    save_summary_steps: int
    model_type: str
    model_params: dict[str, Any]
    batch_size: int = 8
    loss_type: str = "L1_mask"
    optimizer: Literal["Adam", "Adadelta", "SGD"] = "Adam"
    dynamic_remixing: bool = False
    mixture: Literal["given", "sum_of_sources", "degraded"] = "given"
    gradient_clip_norm: float = 0.0
    learning_rate_warmup_steps: int = 0
    weight_averaging: float = 0.0
    learning_rate_patience: int = 0
    early_stopping_patience: int = 0

    @property
    def num_sources(self) -> int:
        """The number of outputs."""
        return len(self.instrument_list)

    @property
    def num_samples(self) -> int:
        """The length of an example in samples, which T frames cover."""
        return (self.T - 1) * self.frame_step + self.frame_length

    @property
    def is_joint(self) -> bool:
        """True if one network has all outputs, rather than one network per instrument."""
        return self.model_type.startswith("joint.")

    @property
    def is_on_waveforms(self) -> bool:
        """True if the network works on waveforms rather than on magnitudes."""
        return self.model_type in {"joint.attentive_grid", "joint.tasnet"}

    @property
    def in_onset_order(self) -> bool:
        """True if the outputs are in the order in which their speakers start."""
        return self.loss_type.startswith("onset_")


def parse_configuration(text: str | bytes, origin: str) -> Configuration:
    """Reads a training configuration.

    Args:
        text: the JSON document.
        origin: the name of the file, for the error message.

    Raises:
        InvalidDocumentError: a key is unknown or missing, a value does not follow the schema, or
            two values contradict each other. The message suggests the nearest known key.
    """
    document = parse_json(text, origin)
    schema = _schema()
    if isinstance(document, dict):
        _check_keys(document, schema["properties"], schema["required"], origin)
    check_document(document, "configuration", origin)
    model_type = document["model"]["type"]
    model_params = document["model"].get("params", {})
    if model_type in ARCHITECTURE_PARAMS:
        _check_keys(model_params, ARCHITECTURE_PARAMS[model_type], (), f"{origin}: model.params")
    names = {field.name for field in dataclasses.fields(Configuration)}
    values = {key: value for key, value in document.items() if key in names}
    values["instrument_list"] = tuple(document["instrument_list"])
    configuration = Configuration(
        document=document, model_type=model_type, model_params=model_params, **values
    )
    for problem in _contradictions(configuration):
        raise InvalidDocumentError(f"{origin}: {problem}")
    return configuration


def _contradictions(configuration: Configuration) -> list[str]:
    problems = []
    num_bins = configuration.frame_length // 2 + 1
    if num_bins < configuration.F:
        problems.append(
            f"F is {configuration.F}, but a frame_length of {configuration.frame_length} gives "
            f"{num_bins} frequency bins"
        )
    if configuration.frame_length % configuration.frame_step:
        problems.append(
            f"frame_length {configuration.frame_length} is no multiple of frame_step "
            f"{configuration.frame_step}: the frames do not add up to the waveform again"
        )
    if configuration.frame_length < 2 * configuration.frame_step:
        problems.append("frame_step is over half of frame_length: the frames must overlap")
    if configuration.model_type.startswith("unet."):
        problems += [
            f"{key} is {value}; a U-Net halves it six times, so it must be a multiple of "
            f"{_UNET_STRIDE}"
            for key, value in (("T", configuration.T), ("F", configuration.F))
            if value % _UNET_STRIDE
        ]
    if configuration.is_on_waveforms and not configuration.loss_type.endswith(
        ("_snr", "_si_sdr", "_log_mse")
    ):
        problems.append(
            f"loss_type {configuration.loss_type} compares spectrograms, but "
            f"{configuration.model_type} has none; use pit_snr, onset_snr or ..._log_mse"
        )
    if configuration.mixture == "degraded" and configuration.dynamic_remixing:
        problems.append(
            "mixture degraded and dynamic_remixing do not go together: what is mixed in training"
            " goes through no channel of transmission; set dynamic_remixing to false"
        )
    params = configuration.model_params
    if configuration.model_type == "joint.attentive_grid":
        if params.get("frame_length", 256) % params.get("frame_step", 128):
            problems.append("model.params.frame_length must be a multiple of frame_step")
        if params.get("num_filters", 64) % params.get("num_heads", 4):
            problems.append("model.params.num_filters must be a multiple of num_heads")
    if configuration.loss_type.startswith(("pit_", "onset_")) and not configuration.is_joint:
        problems.append(
            f"loss_type {configuration.loss_type} needs one network with all the outputs, such as "
            f"joint.tcn; {configuration.model_type} has one network per instrument"
        )
    return problems


def _check_keys(
    document: dict[str, Any], known: Collection[str], required: Collection[str], origin: str
) -> None:
    unknown = [key for key in document if key not in known]
    missing = [key for key in required if key not in document]
    if unknown:
        raise InvalidDocumentError(f"{origin}: {describe_unknown_keys(unknown, known)}")
    if missing:
        raise InvalidDocumentError(
            f"{origin}: missing {name_keys(missing)} {', '.join(map(repr, missing))}"
        )


@functools.cache
def _schema() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("configuration.schema.json").read_text("utf-8")
    return json.loads(text)  # type: ignore[no-any-return]

import json
from importlib import resources
from typing import Any

import pytest
from optional import needs_tensorflow

from schemas.configuration import parse_configuration
from schemas.validation import InvalidDocumentError

CONFIGS = sorted(
    (file for file in resources.files("training").joinpath("configs").iterdir()),
    key=lambda file: file.name,
)


def shipped(name: str) -> dict[str, Any]:
    text = resources.files("training").joinpath(f"configs/{name}.json").read_text("utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_shipped_configuration_is_valid(config: Any) -> None:
    parse_configuration(config.read_text("utf-8"), config.name)


def test_the_experiments_configuration_means_what_spleeter_means() -> None:
    configuration = parse_configuration(json.dumps(shipped("unet")), "unet.json")
    assert configuration.num_samples == 511 * 1024 + 4096
    assert (configuration.n_channels, configuration.optimizer) == (2, "Adam")
    assert configuration.document["instrument_list"] == ["speaker_1", "speaker_2"]


@needs_tensorflow
def test_spleeters_own_configurations_are_read() -> None:
    text = resources.files("spleeter.resources").joinpath("musdb.json").read_text("utf-8")
    configuration = parse_configuration(text, "musdb.json")
    assert configuration.loss_type == "L1_mask"
    assert configuration.model_params["conv_activation"] == "ELU"


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("unet_8k", {"lerning_rate": 1e-4}, "unknown key 'lerning_rate'.*'learning_rate'"),
        ("unet_8k", {"T": None}, "missing key 'T'"),
        ("unet_8k", {"F": 512}, "F is 512.*257 frequency bins"),
        ("unet_8k", {"T": 100}, "T is 100.*multiple of 64"),
        ("unet_8k", {"frame_step": 100}, "512 is no multiple of frame_step 100"),
        ("unet_8k", {"frame_step": 512}, "over half"),
        ("unet_8k", {"n_channels": 3}, "n_channels"),
        ("unet_8k", {"loss_type": "pit_L1"}, "one network per instrument"),
        ("joint_tasnet_8k", {"loss_type": "pit_L1"}, "joint.tasnet has none"),
        (
            "unet_8k",
            {"mixture": "degraded", "dynamic_remixing": True},
            "mixture degraded and dynamic_remixing do not go together",
        ),
        (
            "blstm_8k",
            {"model": {"type": "blstm.blstm", "params": {"lstm_unit": 5}}},
            "model.params: unknown key 'lstm_unit'.*'lstm_units'",
        ),
    ],
)
def test_a_configuration_that_can_not_work_is_refused_with_the_reason(
    name: str, changes: dict[str, Any], message: str
) -> None:
    document = {key: value for key, value in (shipped(name) | changes).items() if value is not None}
    with pytest.raises(InvalidDocumentError, match=f"^mine.json: .*{message}"):
        parse_configuration(json.dumps(document), "mine.json")

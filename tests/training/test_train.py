import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from schemas.configuration import Configuration
from schemas.tfrecord import CorruptRecordError
from schemas.validation import InvalidDocumentError
from training import curves, training_loop
from training.input import open_dataset, training_batches
from training.model_dir import Metrics, ModelDir, ModelDirError, TrainingState
from training.train import main
from training.training_loop import DivergedError, build_train_step, train

MakeDataset = Callable[..., Path]
MakeConfiguration = Callable[..., Configuration]

TINY: dict[str, Any] = {
    "T": 64,
    "batch_size": 2,
    "save_checkpoints_steps": 2,
    "save_summary_steps": 1,
    "throttle_secs": 0,
}
TINY_TCN = {
    "type": "joint.tcn",
    "params": {"num_filters": 16, "num_hidden": 16, "num_blocks": 2, "num_repeats": 1},
}
TINY_UNET = {"type": "unet.unet", "params": {"conv_n_filters": [2, 2, 2, 2, 2, 2]}}


# Virtual devices can only be made before TensorFlow has started.
TRAIN_ON_TWO_DEVICES = """
import sys
import tensorflow as tf
from schemas.configuration import parse_configuration
from training.training_loop import train

[processor] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
config, dataset, folder = sys.argv[1:]
configuration = parse_configuration(open(config).read(), config)
train(configuration, [dataset], folder, max_steps=4, devices=["CPU:0", "CPU:1"])
"""


def weights(folder: Path) -> dict[str, Any]:
    reader = tf.train.load_checkpoint(str(folder))
    names = reader.get_variable_to_shape_map()
    return {
        name: reader.get_tensor(name)
        for name in names
        if name.endswith("VARIABLE_VALUE") and "save_counter" not in name
    }


def scalars(folder: Path, tag: str) -> list[float]:
    return [
        float(tf.make_ndarray(value.tensor))
        for path in sorted(folder.glob("events*"))
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == tag
    ]


def test_training_lowers_the_loss_and_keeps_the_best_model(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration("joint_tcn_mask_8k", **TINY | {"batch_size": 4}, model=TINY_TCN)
    train(config, [str(make_dataset())], str(tmp_path / "model"), max_steps=30)
    losses = scalars(tmp_path / "model", "train/loss")
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1
    minutes, validations = curves.validations(tmp_path / "model")
    assert len(minutes) == 15
    assert minutes == sorted(minutes)
    metrics = ModelDir(str(tmp_path / "model")).read_metrics()
    assert metrics.validation_si_sdri_db == pytest.approx(max(validations))
    assert metrics.steps == 2 * (1 + int(np.argmax(validations)))
    assert list((tmp_path / "model/best").glob(f"ckpt-{metrics.steps}.index"))


@pytest.mark.parametrize(
    ("name", "model"), [("unet_8k", TINY_UNET), ("joint_tcn_mask_8k", TINY_TCN)]
)
def test_a_training_that_was_stopped_comes_to_the_same_weights(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    model: dict[str, Any],
) -> None:
    caplog.set_level(logging.INFO)
    config = configuration(
        name,
        **TINY | {"save_summary_steps": 1000},
        model=model,
        learning_rate_patience=1,
        instrument_list=["speaker_1"],
    )
    datasets = [str(make_dataset(name, num_sources=1)) for name in ("one", "two", "three")]
    train(config, datasets, str(tmp_path / "straight"), max_steps=4)
    for max_steps in (2, 4):
        train(config, datasets, str(tmp_path / "stopped"), max_steps=max_steps)
    straight, stopped = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert straight.keys() == stopped.keys()
    for key, value in straight.items():
        np.testing.assert_array_equal(stopped[key], value, err_msg=key)
    # The first step of a run is a sign of life.
    steps = [one for one in caplog.messages if re.match(r"step \d+/\d+: loss", one)]
    assert [one.partition(":")[0] for one in steps] == ["step 1/4", "step 1/2", "step 3/4"]


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_two_devices_that_share_the_batches_come_to_the_weights_of_one(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path, averaging: float
) -> None:
    config = configuration(
        "joint_tcn_mask_8k",
        **TINY,
        model=TINY_TCN,
        learning_rate_warmup_steps=3,
        weight_averaging=averaging,
    )
    path, dataset = tmp_path / "config.json", str(make_dataset())
    path.write_text(json.dumps(config.document))
    train(config, [dataset], str(tmp_path / "one"), max_steps=4)
    command = [sys.executable, "-c", TRAIN_ON_TWO_DEVICES, str(path), dataset]
    subprocess.run([*command, str(tmp_path / "two")], check=True)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for key, value in one.items():
        np.testing.assert_allclose(two[key], value, rtol=0.02, atol=1e-4, err_msg=key)


def test_devices_that_a_batch_can_not_be_divided_among_are_refused(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration("joint_tcn_mask_8k", **TINY | {"batch_size": 3}, model=TINY_TCN)
    with pytest.raises(ValueError, match="batch_size 3 can't be divided among 2 devices"):
        train(config, [str(make_dataset())], str(tmp_path / "m"), devices=["GPU:0", "GPU:1"])


def test_sigterm_saves_and_the_same_command_goes_on(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration(
        "joint_tcn_mask_8k", **TINY | {"save_checkpoints_steps": 1000}, model=TINY_TCN
    )
    (tmp_path / "config.json").write_text(json.dumps(config.document))
    folder = tmp_path / "model"
    command = [sys.executable, "-m", "training.train", "--config", str(tmp_path / "config.json")]
    command += ["--dataset", str(make_dataset()), "--model_dir", str(folder)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 3/"):
                process.send_signal(signal.SIGTERM)
            last = line
    assert process.returncode == 0
    stopped = re.match(r"stopped at step (\d+), not validated yet; the same command goes on", last)
    assert stopped
    state = TrainingState(config)
    ModelDir(str(folder)).restore(state)
    assert int(state.step) == int(stopped[1]) >= 3


def test_training_that_is_done_does_not_promise_to_go_on(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    config = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN)
    dataset, folder = str(make_dataset()), str(tmp_path / "model")
    train(config, [dataset], folder, max_steps=2, max_minutes=0)
    assert caplog.messages[-1].endswith("the same command goes on from here")
    train(config, [dataset], folder, max_steps=2)
    done = caplog.messages[-1]
    assert re.fullmatch(r"done: 2 steps, best SI-SDRi .* dB; training.export .*", done)
    caplog.clear()
    train(config, [dataset], folder, max_steps=2)
    assert caplog.messages == ["going on from step 2", done]


def test_a_loss_that_is_not_a_number_stops_with_the_batch_named(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration(
        "joint_tcn_mask_8k",
        **TINY | {"save_checkpoints_steps": 1},
        model=TINY_TCN,
        learning_rate=1e38,
        optimizer="SGD",
        gradient_clip_norm=0,
    )
    with pytest.raises(DivergedError, match=r"not a number at step \d+ .*train-0000.*lower"):
        train(config, [str(make_dataset())], str(tmp_path / "model"), max_steps=9)
    before = weights(tmp_path / "model")
    assert 0 < before["step/.ATTRIBUTES/VARIABLE_VALUE"] < 9


def test_training_stops_when_validation_no_longer_improves(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration(
        "joint_tcn_mask_8k",
        **TINY | {"save_checkpoints_steps": 1, "learning_rate": 1e-12},
        model=TINY_TCN,
        early_stopping_patience=3,
        learning_rate_patience=2,
    )
    train(config, [str(make_dataset())], str(tmp_path / "model"), max_steps=50)
    rates = scalars(tmp_path / "model", "train/learning_rate")
    assert len(rates) < 10
    assert rates[-1] == pytest.approx(rates[0] / 2)


def test_the_learning_rate_rises_step_by_step_to_what_was_asked_for(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration(
        "joint_tcn_mask_8k", **TINY, model=TINY_TCN, learning_rate_warmup_steps=4
    )
    train(config, [str(make_dataset())], str(tmp_path / "model"), max_steps=5)
    rates = scalars(tmp_path / "model", "train/learning_rate")
    assert rates == pytest.approx([0.00025, 0.0005, 0.00075, 0.001, 0.001])


def test_what_is_kept_has_the_mean_of_the_weights_and_training_goes_on_without(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN, weight_averaging=0.75)
    folder = ModelDir(str(tmp_path / "model"))
    folder.prepare(config)
    state = TrainingState(config)
    train_step = build_train_step(config, state)
    dataset = open_dataset(str(make_dataset()), config, ["train"])
    variable = state.separator.network.trainable_variables[0]
    mean = variable.numpy()
    for batch in training_batches(dataset, config, 0).take(3):
        train_step(batch)
        mean = 0.75 * mean + 0.25 * variable.numpy()
    trained = variable.numpy()
    with state.averaged_weights():
        folder.save_best(state, Metrics(3, 0.0, 0.0, ""))
    np.testing.assert_array_equal(variable, trained)
    kept = folder.load_best()[1].network.trainable_variables[0]
    np.testing.assert_allclose(kept, mean, atol=1e-6)
    assert np.abs(trained - mean).max() > 1e-4


@pytest.mark.parametrize("name", ["train.tfrecord-00001-of-00002", "validation.tfrecord-00000"])
def test_a_damaged_shard_is_named_when_training_comes_to_it(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path, name: str
) -> None:
    config = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN)
    folder = make_dataset()
    (shard,) = folder.glob(f"voices-{name}*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CorruptRecordError, match=f"^{shard}: wrong .* checksum in .* at byte"):
        train(config, [str(folder)], str(tmp_path / "model"), max_steps=20)


def test_a_run_leaves_a_model_however_short_it_was(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN)
    train(config, [str(make_dataset())], str(tmp_path / "model"), max_minutes=0)
    assert ModelDir(str(tmp_path / "model")).read_metrics().steps == 0


def test_a_folder_of_another_architecture_is_refused(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = configuration("unet_8k", **TINY)
    ModelDir(str(tmp_path / "model")).prepare(config)
    (tmp_path / "config.json").write_text(
        json.dumps(configuration("joint_tcn_mask_8k", **TINY).document)
    )
    arguments = ["--config", str(tmp_path / "config.json"), "--dataset", str(make_dataset())]
    assert main([*arguments, "--model_dir", str(tmp_path / "model")]) == 1
    complaint = capsys.readouterr().err
    assert re.match(r'training.train: .*holds another model: model is \{"type": "unet', complaint)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_may_be_saved_by_any_editor(
    make_dataset: MakeDataset, configuration: MakeConfiguration, tmp_path: Path, encoding: str
) -> None:
    text = json.dumps(configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN).document)
    (tmp_path / "config.json").write_text(text, encoding)
    arguments = ["--config", str(tmp_path / "config.json"), "--dataset", str(make_dataset())]
    model_dir = str(tmp_path / "model")
    assert main([*arguments, "--model_dir", model_dir, "--max_minutes=0"]) == 0


def test_a_configuration_that_is_none_is_one_line(
    make_dataset: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset()
    (tmp_path / "latin.json").write_bytes('{"mix_name": "é"}'.encode("latin-1"))
    for name, complaint in (("latin.json", "not JSON: 'utf-8' codec"), (".", "a folder: name")):
        arguments = ["--config", str(tmp_path / name), "--dataset", str(dataset)]
        assert main([*arguments, "--model_dir", str(tmp_path / "model")]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert complaint in line


def test_a_folder_with_other_things_is_refused_and_left_alone(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(configuration("joint_tcn_mask_8k", **TINY).document))
    dataset = make_dataset()
    before = sorted(dataset.iterdir())
    for folder, complaint in (
        (dataset, f"{dataset} holds something else, such as COMPLETED: name another --model_dir"),
        (config / "model", f"{config}/model: can't be written"),
    ):
        options = ["--dataset", str(dataset), "--model_dir", str(folder)]
        assert main(["--config", str(config), *options]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"training.train: {complaint}")
    assert sorted(dataset.iterdir()) == before


def test_a_dataset_whose_features_are_damaged_is_named(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    dataset = make_dataset()
    (dataset / "features.json").write_text("{")
    with pytest.raises(InvalidDocumentError, match=f"{dataset}/features.json: not JSON"):
        open_dataset(str(dataset), configuration("joint_tcn_mask_8k", **TINY), ("train",))
    (dataset / "features.json").unlink()
    with pytest.raises(InvalidDocumentError, match=r"features\.json: missing"):
        open_dataset(str(dataset), configuration("joint_tcn_mask_8k", **TINY), ("train",))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("ckpt-0.data-00000-of-00001", b"short", "ckpt-0: damaged"),
        ("ckpt-0.index", None, "what its file `checkpoint` names is not there"),
        ("checkpoint", b"junk", "what its file `checkpoint` names is not there"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_not_begun_again(
    configuration: MakeConfiguration,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    complaint: str,
) -> None:
    config = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN)
    folder = ModelDir(str(tmp_path / "model"))
    folder.prepare(config)
    folder.save(TrainingState(config))
    folder.save_best(TrainingState(config), Metrics(0, 0.0, 0.0, ""))
    for path in (tmp_path / "model" / name, tmp_path / "model/best" / name):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    with pytest.raises(ModelDirError, match=complaint):
        folder.restore(TrainingState(config))
    with pytest.raises(ModelDirError, match=complaint):
        folder.load_best()


def test_a_disk_that_is_full_is_one_line(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "events.1; No space left on device\n")

    monkeypatch.setattr(training_loop._Run, "go", fill)
    config = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN)
    with pytest.raises(ModelDirError, match="model: can't be written: No space left on device"):
        train(config, [str(make_dataset())], str(tmp_path / "model"))


def test_a_tilde_is_the_users_folder(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset()
    document = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN).document
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = ["--config=~/config.json", f"--dataset=~/{dataset.name}", "--model_dir=~/model"]
    assert main([*arguments, "--max_minutes=0"]) == 0
    assert (tmp_path / "model").is_dir()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_mistyped_configuration_gets_the_name_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--config=joint_tcn_mask", "--dataset=d", "--model_dir=m"]) == 1
    assert capsys.readouterr().err == (
        "training.train: --config=joint_tcn_mask: no such file, and no configuration that ships:"
        " did you mean joint_tcn_mask_8k?\n"
    )


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(
    configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration("joint_tcn_mask_8k", **TINY, model=TINY_TCN)
    folder = ModelDir(str(tmp_path / "model"))
    folder.prepare(config)
    state = TrainingState(config)
    folder.save(state)
    state.step.assign(1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(ModelDirError, match=r"can't save step 1.* is kept"):
            folder.save(state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    again = TrainingState(config)
    again.step.assign(7)
    folder.restore(again)
    assert int(again.step) == 0

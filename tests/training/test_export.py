import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from schemas.bundle import Bundle, parse_bundle
from schemas.configuration import Configuration
from training.bundle_export import BundleError, read_weights
from training.export import main
from training.model_dir import Metrics, ModelDir, TrainingState
from training.training_loop import train

MakeConfiguration = Callable[..., Configuration]


def save_model(folder: Path, configuration: Configuration) -> TrainingState:
    """A model as training leaves it, with weights that are not those of a new one."""
    random = np.random.default_rng(0)
    state = TrainingState(configuration)
    for variable in state.separator.network.variables:
        scale = 1 + 0.2 * random.random(variable.shape)
        variable.assign(variable * scale + 0.05 * random.random(variable.shape))
    model_dir = ModelDir(str(folder))
    model_dir.prepare(configuration)
    model_dir.save_best(state, Metrics(7, 0.5, 3.25, "ab" * 32))
    return state


def export(model_dir: Path, output: Path) -> Bundle:
    assert main(["--model_dir", str(model_dir), "--output", str(output)]) == 0
    return parse_bundle((output / "bundle.json").read_bytes(), "bundle.json")


def recording(num_samples: int, num_channels: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(1)
    return random.normal(0, 0.1, (num_samples, num_channels)).astype(np.float32)


ELSEWHERE = """
import sys
import numpy as np, tensorflow as tf
from spleeter.separator import Separator
waveform = np.load("waveform.npy")
for name in sys.argv[1:]:
    model = tf.saved_model.load(f"{name}/saved_model")
    separate = model.signatures["serving_default"]
    sources = separate(waveform=tf.constant(waveform[np.newaxis]))["sources"]
    np.save(f"{name}/by_tensorflow.npy", sources[0])
    separator = Separator(f"{name}/spleeter/config.json", multiprocess=False)
    sources = separator.separate(waveform)
    np.save(f"{name}/by_spleeter.npy", [sources["speaker_1"], sources["speaker_2"]])
"""


def test_stock_spleeter_and_plain_tensorflow_separate_as_we_do(
    configuration: MakeConfiguration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waveform = recording(9000, 2)
    np.save(tmp_path / "waveform.npy", waveform)
    expected = {}
    for name in ("unet", "softmax_unet"):
        model = {"type": f"unet.{name}", "params": {"conv_n_filters": [4, 4, 8, 8, 8, 8]}}
        config = configuration("unet_8k", n_channels=2, T=64, model=model)
        state = save_model(tmp_path / "model" / name, config)
        bundle = export(tmp_path / "model" / name, tmp_path / name)
        assert (bundle.aligned, bundle.num_channels) == (True, 2)
        said = f"done: the bundle {tmp_path / name}: 2 outputs at 8000 Hz, 7 steps, 3.25 dB of"
        assert said in capsys.readouterr().out
        expected[name] = state.separator.separate(waveform[np.newaxis])[0].numpy()
        assert np.abs(expected[name][0] - expected[name][1]).max() > 0.01
    # Isolated, because the current folder may hold the project.
    subprocess.run([sys.executable, "-I", "-c", ELSEWHERE, *expected], cwd=tmp_path, check=True)
    for name, sources in expected.items():
        by_spleeter = np.load(tmp_path / name / "by_spleeter.npy")
        np.testing.assert_allclose(by_spleeter, sources, atol=1e-4)
        by_tensorflow = np.load(tmp_path / name / "by_tensorflow.npy")
        np.testing.assert_allclose(by_tensorflow, sources, atol=1e-5)


def test_a_joint_network_may_separate_longer_windows_than_it_trained_on(
    configuration: MakeConfiguration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tcn = {"type": "joint.tcn", "params": {"num_blocks": 1}}
    for name, model in (("joint_tcn_mask_8k", tcn), ("unet_8k", {"type": "unet.unet"})):
        save_model(tmp_path / name, configuration(name, T=64, model=model))
    command = ["--model_dir", str(tmp_path / "joint_tcn_mask_8k"), "--output"]
    assert main([*command, str(tmp_path / "longer"), "--window_s", "9.5"]) == 0
    bundle = parse_bundle((tmp_path / "longer/bundle.json").read_bytes(), "bundle.json")
    assert bundle.window_s == 9.5
    assert main([*command, str(tmp_path / "none"), "--window_s", "0"]) == 1
    assert "--window_s=0: must be more than 0" in capsys.readouterr().err
    command[1] = str(tmp_path / "unet_8k")
    assert main([*command, str(tmp_path / "none"), "--window_s", "9.5"]) == 1
    assert "unet.unet separates" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("joint_tcn_mask_8k", {"type": "joint.tcn", "params": {"num_blocks": 2}}),
        ("joint_tasnet_8k", {"type": "joint.tasnet", "params": {"num_blocks": 2}}),
    ],
)
def test_a_joint_bundle_is_the_same_from_many_threads_one_at_a_time(
    configuration: MakeConfiguration, tmp_path: Path, name: str, model: dict[str, Any]
) -> None:
    state = save_model(tmp_path / "model", configuration(name, model=model))
    bundle = export(tmp_path / "model", tmp_path / "bundle")
    assert not bundle.aligned
    assert bundle.source_names == ("speaker_1", "speaker_2")
    assert bundle.provenance.steps == 7
    assert bundle.metrics["validation_si_sdri_db"] == 3.25
    training = bundle.provenance.training
    assert training is not None
    assert training.trainer == "training.train"
    assert bundle.configuration | training.settings == configuration(name, model=model).document
    loaded = tf.saved_model.load(str(tmp_path / "bundle/saved_model"))
    separate = loaded.signatures["serving_default"]
    waveforms = [recording(4000 + 500 * n, 1)[np.newaxis] for n in range(4)]
    found: dict[int, Any] = {number: [] for number in range(4)}
    one_at_a_time = threading.Lock()

    def work(number: int) -> None:
        waveform = tf.constant(waveforms[number])
        for _ in range(3):
            with one_at_a_time:
                found[number].append(separate(waveform=waveform)["sources"].numpy())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, waveform in enumerate(waveforms):
        expected = state.separator.separate(waveform)
        assert expected.shape == (1, 2, waveform.shape[1], 1)
        for sources in found[number]:
            np.testing.assert_allclose(sources, expected, atol=1e-5)
            np.testing.assert_array_equal(sources, found[number][0])


def test_a_model_that_was_never_validated_is_refused(
    configuration: MakeConfiguration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ModelDir(str(tmp_path / "model")).prepare(configuration("joint_tcn_mask_8k"))
    assert main(["--model_dir", str(tmp_path / "model"), "--output", str(tmp_path / "b")]) == 1
    assert "first validation" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_folder_that_holds_no_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model_dir", str(tmp_path), "--output", str(tmp_path / "b")]) == 1
    assert "not the folder of a model" in capsys.readouterr().err


def test_an_output_with_other_things_is_refused_and_left_alone(
    make_dataset: Callable[..., Path],
    configuration: MakeConfiguration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = {"type": "joint.tcn", "params": {"num_filters": 8, "num_hidden": 8, "num_blocks": 1}}
    config = configuration("joint_tcn_mask_8k", model=model, T=64)
    train(config, [str(make_dataset())], str(tmp_path / "model"), max_minutes=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    for folder, name in (("mine", "notes.txt"), ("model", "best")):
        output = str(tmp_path / folder)
        assert main(["--model_dir", str(tmp_path / "model"), "--output", output]) == 1
        assert f"{output} holds something else, such as {name}" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_bundle_is_what_a_new_training_can_start_from(
    make_dataset: Callable[..., Path], configuration: MakeConfiguration, tmp_path: Path
) -> None:
    model = {"type": "joint.tcn", "params": {"num_filters": 8, "num_hidden": 8, "num_blocks": 1}}
    config = configuration("joint_tcn_mask_8k", model=model, T=64, weight_averaging=0.9)
    trained = save_model(tmp_path / "model", config).separator.network.get_weights()
    export(tmp_path / "model", tmp_path / "bundle")
    dataset = [str(make_dataset())]
    train(config, dataset, str(tmp_path / "on"), start_from=str(tmp_path / "bundle"), max_steps=0)
    training = ModelDir(str(tmp_path / "on")).read_metrics().training
    assert training is not None
    assert [data.name for data in training.data] == ["voices"]
    assert training.start_from == "bundle"
    _, separator = ModelDir(str(tmp_path / "on")).load_best()
    for weight, expected in zip(separator.network.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_bundle_of_another_network_is_refused_with_what_differs(
    configuration: MakeConfiguration, tmp_path: Path
) -> None:
    model = {"type": "joint.tcn", "params": {"num_filters": 8, "num_hidden": 8, "num_blocks": 1}}
    save_model(tmp_path / "model", configuration("joint_tcn_mask_8k", model=model, T=64))
    export(tmp_path / "model", tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"bundle: model is .*joint\.tcn.* there and .*tasnet"):
        read_weights(str(tmp_path / "bundle"), configuration("joint_tasnet_8k"))


def test_a_bundle_is_not_taken_for_the_folder_of_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle.json").touch()
    assert main(["--model_dir", str(tmp_path), "--output", str(tmp_path / "again")]) == 1
    assert f"{tmp_path}: a bundle, and this takes the folder" in capsys.readouterr().err

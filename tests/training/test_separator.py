import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spleeter.model
import tensorflow as tf

import training.architectures
from schemas.configuration import Configuration
from schemas.validation import InvalidDocumentError
from training.separator import build_separator
from training.spectrogram import inverse_stft, stft, stft_magnitudes

MakeConfiguration = Callable[..., Configuration]

SMALL = {
    "unet_8k": {"T": 64, "model": {"type": "unet.unet"}},
    "softmax_unet_8k": {"T": 64, "model": {"type": "unet.softmax_unet"}},
    "blstm_8k": {"T": 64, "model": {"type": "blstm.blstm", "params": {"lstm_units": 8}}},
    "joint_blstm_8k": {"T": 64, "model": {"type": "joint.blstm", "params": {"lstm_units": 8}}},
    "joint_tcn_mask_8k": {"T": 64, "model": {"type": "joint.tcn", "params": {"num_blocks": 2}}},
    "joint_tasnet_8k": {"T": 64, "model": {"type": "joint.tasnet", "params": {"num_blocks": 2}}},
    "joint_attentive_grid_8k": {
        "T": 64,
        "model": {
            "type": "joint.attentive_grid",
            "params": {"num_filters": 8, "num_hidden": 8, "num_blocks": 2},
        },
    },
    "joint_tasnet_joined_8k": {
        "T": 64,
        "model": {"type": "joint.tasnet", "params": {"num_blocks": 2, "joined_frames": 3}},
    },
}


def noise(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32))


@pytest.mark.parametrize(
    ("frame_length", "frame_step"), [(512, 128), (512, 256), (4096, 1024), (400, 100)]
)
def test_a_spectrogram_is_a_fourier_transform_and_gives_the_waveform_back(
    frame_length: int, frame_step: int
) -> None:
    waveform = noise(2, 4 * frame_length, 2)
    spectrogram = stft(waveform, frame_length, frame_step)
    starts = range(0, 3 * frame_length + 1, frame_step)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame_length) / frame_length)
    frames = np.stack([waveform[:, n : n + frame_length] for n in starts], axis=1)
    expected = np.fft.rfft(frames * window[:, np.newaxis], axis=2)
    np.testing.assert_allclose(spectrogram, expected, atol=2e-5)
    low = stft(waveform, frame_length, frame_step, num_bins=100)
    np.testing.assert_allclose(low, expected[:, :, :100], atol=2e-5)
    magnitudes = stft_magnitudes(waveform, frame_length, frame_step, num_bins=100)
    np.testing.assert_allclose(magnitudes, np.abs(low), atol=1e-6)
    again = inverse_stft(spectrogram, frame_length, frame_step)
    edge = frame_length - frame_step
    np.testing.assert_allclose(again[:, edge:-edge], waveform[:, edge:-edge], atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_separates_recordings_of_any_length(
    configuration: MakeConfiguration, name: str
) -> None:
    separator = build_separator(configuration(name, **SMALL[name]))
    sources = separator.separate(noise(2, 9_777, 1))
    assert sources.shape == (2, 2, 9_777, 1)
    assert np.isfinite(sources).all()


@pytest.mark.parametrize(
    "name", ["joint_attentive_grid_8k", "joint_tcn_mask_8k", "joint_tasnet_8k"]
)
def test_what_is_separated_does_not_move_with_the_length_of_the_recording(
    configuration: MakeConfiguration, name: str
) -> None:
    separator = build_separator(configuration(name, **SMALL[name]))
    waveform = noise(1, 16000, 1)
    whole = separator.separate(waveform)[:, :, :8000]
    for num_samples in (15999, 15990, 15987):
        cut = separator.separate(waveform[:, :num_samples])[:, :, :8000]
        assert tf.norm(cut - whole) / tf.norm(whole) < 0.02


@pytest.mark.parametrize(
    ("name", "num_channels"),
    [
        ("unet_8k", 1),
        ("softmax_unet_8k", 1),
        ("unet_8k", 2),
        ("joint_tasnet_8k", 2),
        ("joint_attentive_grid_8k", 2),
    ],
)
def test_mono_data_is_for_mono_and_stereo_models(
    configuration: MakeConfiguration, name: str, num_channels: int
) -> None:
    config = configuration(name, n_channels=num_channels, **SMALL[name])
    separator = build_separator(config)
    sources = noise(3, 2, config.num_samples, 1)
    batch = {"mixture": tf.reduce_sum(sources, axis=1), "sources": sources}
    estimate = separator.estimate(batch, training=True)
    reference = separator.reference(batch)
    assert estimate.waveforms.shape == reference.waveforms.shape
    assert estimate.waveforms.shape[-1] == num_channels
    if estimate.magnitudes is not None:
        assert estimate.magnitudes.shape == (3, 2, 64, config.F, num_channels)
        assert reference.magnitudes.shape == reference.phase_sensitive.shape
        assert reference.magnitudes.shape == estimate.magnitudes.shape


def test_joint_networks_have_as_many_outputs_as_speakers(configuration: MakeConfiguration) -> None:
    names = [f"speaker_{n}" for n in range(5)]
    for name in ("joint_attentive_grid_8k", "joint_tcn_mask_8k", "joint_tasnet_8k"):
        separator = build_separator(configuration(name, instrument_list=names, **SMALL[name]))
        assert separator.separate(noise(1, 4000, 1)).shape == (1, 5, 4000, 1)


def test_joint_masks_add_up_to_the_mixture(configuration: MakeConfiguration) -> None:
    name = "joint_tcn_mask_8k"
    separator = build_separator(configuration(name, **SMALL[name], mask_extension="average"))
    waveform = noise(1, 8000, 1)
    total = tf.reduce_sum(separator.separate(waveform), axis=1)
    np.testing.assert_allclose(total, waveform, atol=1e-4)


def test_joint_masks_do_not_depend_on_the_level(configuration: MakeConfiguration) -> None:
    separator = build_separator(configuration("joint_tcn_mask_8k", **SMALL["joint_tcn_mask_8k"]))
    waveform = noise(1, 8000, 1)
    quiet = separator.separate(0.01 * waveform)
    np.testing.assert_allclose(100 * quiet, separator.separate(waveform), atol=1e-3)


@pytest.mark.parametrize(
    "model_type",
    [
        "unet.unet",
        "unet.softmax_unet",
        "blstm.blstm",
        "joint.attentive_grid",
        "joint.tcn",
        "joint.tasnet",
    ],
)
def test_spleeters_own_look_up_finds_our_architectures(model_type: str) -> None:
    module, _, name = model_type.partition(".")
    ours = importlib.import_module(f"{training.architectures.__name__}.{module}")
    found = spleeter.model.get_model_function(model_type)  # type: ignore[no-untyped-call]
    assert found is getattr(ours, name)


def test_spleeters_estimator_runs_a_joint_architecture(
    configuration: MakeConfiguration, tmp_path: Path
) -> None:
    config = configuration("joint_tcn_mask_8k", **SMALL["joint_tcn_mask_8k"])
    (tmp_path / "config.json").write_text(json.dumps(config.document))
    # In a process of its own, because a graph of Keras layers spoils those outside of it.
    script = (
        "import sys, tensorflow as tf, training.architectures\n"
        "from spleeter.model import EstimatorSpecBuilder\n"
        "from spleeter.utils.configuration import load_configuration\n"
        "with tf.Graph().as_default():\n"
        "    features = {'waveform': tf.zeros((8000, 1))}\n"
        "    params = load_configuration(sys.argv[1])\n"
        "    outputs = EstimatorSpecBuilder(features, params).build_predict_model().predictions\n"
        "    assert sorted(outputs) == ['speaker_1', 'speaker_2'], outputs\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "config.json")], check=True)


def test_an_unknown_architecture_is_named_with_the_nearest(
    configuration: MakeConfiguration,
) -> None:
    with pytest.raises(InvalidDocumentError, match=r"'joint.tnc' \(did you mean 'joint.tcn'\?\)"):
        build_separator(configuration("joint_tcn_mask_8k", model={"type": "joint.tnc"}))

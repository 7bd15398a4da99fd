"""Recordings with more bandwidth than the model keep it."""

import json
import tracemalloc

import numpy as np
import pytest
import soundfile
from tiny_models import save_bundle, split_bands, to_the_louder

from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.separation.models import ModelError, describe_model
from beam_jobs.separation.recording import inspect_recording
from beam_jobs.separation.separator import load_separator
from beam_jobs.separation.streaming import separate_recordings
from schemas.ledger import Parameters


@pytest.fixture(scope="module")
def wide_bundle(tmp_path_factory):
    """A bundle that gives the upper band to the louder of its two outputs."""
    folder = tmp_path_factory.mktemp("wide")
    return save_bundle(folder, split_bands, aligned=True, share=to_the_louder)


@pytest.fixture(scope="module")
def wide(wide_bundle):
    model = describe_model(str(wide_bundle))
    return model, load_separator(model)


def write_noise(path, num_frames, rate, num_channels=1):
    """Writes noise of all frequencies, louder in the lower quarter of the model's band."""
    noise = np.random.default_rng(3).standard_normal((num_frames, num_channels)) * 0.02
    tone = 0.2 * np.sin(2 * np.pi * 300 * np.arange(num_frames) / rate)
    soundfile.write(path, noise + tone[:, np.newaxis], rate, "FLOAT")
    return path


def separate(loaded, path, folder, **parameters):
    model, separator = loaded
    file = InputFile(str(path), path.name)
    recording = inspect_recording(file, input_version(str(path)))
    (record,) = separate_recordings(
        [recording],
        model=model,
        separator=separator,
        parameters=Parameters(**parameters),
        output=str(folder),
    )
    outputs = [soundfile.read(folder / output.path, always_2d=True) for output in record.outputs]
    return np.stack([samples for samples, _ in outputs]), outputs[0][1]


@pytest.mark.parametrize(
    ("num_frames", "rate", "num_channels", "channels"),
    [
        (160, 16000, 1, "mix"),
        (128_000, 16000, 1, "mix"),
        (128_001, 16000, 1, "mix"),
        (700_001, 44100, 1, "mix"),
        (100_000, 11025, 1, "mix"),
        (200_000, 48000, 2, "each"),
    ],
)
def test_the_outputs_have_all_that_the_recording_has(
    wide, tmp_path, num_frames, rate, num_channels, channels
):
    path = write_noise(tmp_path / "a.wav", num_frames, rate, num_channels)
    outputs, output_rate = separate(wide, path, tmp_path, channels=channels)
    recording, _ = soundfile.read(path, always_2d=True)
    assert output_rate == rate
    assert outputs.shape == (2, num_frames, num_channels)
    # The model does not hear the ringing of its own last samples.
    kept = slice(num_frames - rate // 50)
    np.testing.assert_allclose(outputs.sum(axis=0)[kept], recording[kept], atol=3e-4)


def test_what_is_above_goes_to_whom_the_network_says(wide, tmp_path):
    path = write_noise(tmp_path / "a.wav", 160_000, 16000)
    outputs, _ = separate(wide, path, tmp_path)
    above = np.abs(np.fft.rfft(outputs[..., 0]))[:, 5 * len(outputs[0]) // 16 :].max(axis=1)
    # The first output has the tone, and is the louder one throughout.
    assert above[0] > 10 * above[1]


@pytest.mark.parametrize(("rate", "parameters"), [(8000, {}), (16000, {"sample_rate": "model"})])
def test_at_the_rate_of_the_model_nothing_changes(wide, bundle, tmp_path, rate, parameters):
    path = write_noise(tmp_path / "a.wav", 100_000, rate)
    model = describe_model(str(bundle))
    outputs, _ = separate(wide, path, tmp_path, **parameters)
    expected, _ = separate((model, load_separator(model)), path, tmp_path, **parameters)
    np.testing.assert_array_equal(outputs, expected)


def test_the_memory_for_the_upper_band_does_not_grow_with_the_length(wide):
    _, separator = wide
    peaks = []
    for seconds in (40, 160):
        blocks = (np.zeros((2, 8000, 1), np.float32) for _ in range(seconds))
        recording = (np.zeros((16000, 1), np.float32) for _ in range(seconds))
        tracemalloc.start()
        num_frames = sum(
            block.shape[1]
            for block, _ in separator.sharer.widen(blocks, recording, 16000, seconds * 16000)
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert num_frames == seconds * 16000
    assert peaks[1] < 1.1 * peaks[0]


def test_another_upper_band_makes_another_model(wide, wide_bundle, bundle, tmp_path):
    model, _ = wide
    assert model.fingerprint != describe_model(str(bundle)).fingerprint
    described = json.loads((wide_bundle / "bundle.json").read_text())
    described["upper_band"] = None
    (tmp_path / "bundle.json").write_text(json.dumps(described))
    (tmp_path / "saved_model").symlink_to(wide_bundle / "saved_model")
    without = describe_model(str(tmp_path))
    assert without.upper_band is None
    assert without.fingerprint != model.fingerprint


def test_an_upper_band_that_is_missing_is_named(wide_bundle, tmp_path):
    (tmp_path / "bundle.json").write_bytes((wide_bundle / "bundle.json").read_bytes())
    (tmp_path / "saved_model").symlink_to(wide_bundle / "saved_model")
    with pytest.raises(ModelError, match="upper_band/saved_model"):
        describe_model(str(tmp_path))

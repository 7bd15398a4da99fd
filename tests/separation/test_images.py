"""Speakers keep their place in recordings of several channels."""

import numpy as np
import pytest
import soundfile
from tiny_models import save_bundle, split_bands, to_the_louder

from beam_jobs.separation.images import find_images
from beam_jobs.separation.inputs import InputFile, input_version
from beam_jobs.separation.models import describe_model
from beam_jobs.separation.recording import inspect_recording
from beam_jobs.separation.separator import load_separator
from beam_jobs.separation.streaming import separate_recordings
from schemas.ledger import Parameters

STEP = 256


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A model of one channel, whose outputs are the low band and the rest, with an upper band."""
    folder = tmp_path_factory.mktemp("wide")
    model = describe_model(str(save_bundle(folder, split_bands, aligned=True, share=to_the_louder)))
    return model, load_separator(model)


def noise(num_samples, seed):
    return np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32) * 0.1


def separate(loaded, path, folder, **parameters):
    model, separator = loaded
    recording = inspect_recording(InputFile(str(path), path.name), input_version(str(path)))
    (record,) = separate_recordings(
        [recording],
        model=model,
        separator=separator,
        parameters=Parameters(channels="keep", **parameters),
        output=str(folder),
    )
    outputs = [soundfile.read(folder / output.path, always_2d=True)[0] for output in record.outputs]
    return np.stack(outputs)


def write_stereo(path, num_frames=150_001, rate=16000):
    """Writes a low tone, louder on the left, and a high one, louder on the right."""
    time_s = np.arange(num_frames) / rate
    low, high = (0.2 * np.sin(2 * np.pi * hz * time_s) for hz in (300, 2500))
    soundfile.write(path, np.stack([low + high / 4, low / 4 + high], axis=1), rate, "FLOAT")
    return path


@pytest.mark.parametrize("rate", [8000, 44100])
def test_each_speaker_is_as_loud_in_each_channel_as_in_the_recording(loaded, tmp_path, rate):
    path = write_stereo(tmp_path / "a.wav", 4 * rate, rate)
    low, high = separate(loaded, path, tmp_path)
    middle = slice(rate, -rate)
    levels = [np.sqrt((one[middle] ** 2).mean(axis=0)) * 5 * np.sqrt(2) for one in (low, high)]
    np.testing.assert_allclose(levels, [[1, 0.25], [0.25, 1]], atol=0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_all_speakers_together_are_the_recording(loaded, tmp_path, rate):
    path = write_stereo(tmp_path / "a.wav", rate=rate)
    outputs = separate(loaded, path, tmp_path)
    recording, _ = soundfile.read(path)
    assert outputs.shape == (2, *recording.shape)
    kept = slice(rate // 50, len(recording) - rate // 50)
    np.testing.assert_allclose(outputs.sum(axis=0)[kept], recording[kept], atol=1e-3)


def test_a_recording_of_one_channel_is_separated_as_ever(loaded, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(30_000, 0), 8000)
    model, separator = loaded
    kept = separate(loaded, path, tmp_path)
    recording = inspect_recording(InputFile(str(path), "b.wav"), input_version(str(path)))
    (mixed,) = separate_recordings(
        [recording],
        model=model,
        separator=separator,
        parameters=Parameters(),
        output=str(tmp_path),
    )
    for own, output in zip(kept, mixed.outputs, strict=True):
        np.testing.assert_array_equal(own[:, 0], soundfile.read(tmp_path / output.path)[0])


def test_who_speaks_in_one_channel_alone_is_not_heard_in_the_other():
    one, other = noise(64_000, 1), noise(64_000, 2)
    # Neither output is clean.
    outputs = np.stack([one + 0.2 * other, other + 0.2 * one])
    images = find_images(outputs, np.stack([one, other], axis=1), STEP)
    leaked_db = 10 * np.log10((images[1, :, 0] ** 2).mean() / (one**2).mean())
    assert leaked_db < -20
    np.testing.assert_allclose(images.sum(axis=0), np.stack([one, other], axis=1), atol=1e-4)


def test_who_is_silent_has_silent_images():
    outputs = np.stack([noise(64_000, 1), np.zeros(64_000, np.float32)])
    channels = np.stack([outputs[0], outputs[0] / 2], axis=1)
    images = find_images(outputs, channels, STEP)
    assert not images[1].any()
    np.testing.assert_allclose(images[0], channels, atol=1e-4)

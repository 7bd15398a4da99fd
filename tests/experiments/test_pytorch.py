import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from experiments.default_model import CONFIGURATION, SPLITS
from experiments.default_model.pytorch import speech, weights
from experiments.default_model.pytorch.settings import read_settings
from schemas.bundle import Training, TrainingData
from schemas.configuration import parse_configuration
from training.model_dir import ModelDir
from training.separator import build_separator

RATE = 8000


def say(path: Path, frequency_hz: float, pause_s: float) -> None:
    """Two seconds of a tone, a pause in the middle of them, at 16 kHz."""
    tone = 0.1 * np.sin(2 * np.pi * frequency_hz * np.arange(16000) / 16000)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([tone, np.zeros(round(16000 * pause_s)), tone]), 16000)


def test_pytorch_gets_the_speech_of_each_speaker_without_long_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_settings()
    few_rooms = dataclasses.replace(settings.speech, num_rooms=2)
    few = dataclasses.replace(settings, speech=few_rooms)
    monkeypatch.setattr(speech, "read_settings", lambda: few)
    for number in range(10):
        for utterance in range(2):
            path = tmp_path / f"speech/speaker_{number}/{utterance}.wav"
            say(path, 200 + 100 * number, pause_s=1.5)
    (tmp_path / "speech/speaker_0/broken.wav").write_bytes(b"RIFF")
    say(tmp_path / "noise/tone.wav", 50, pause_s=0)
    packed = tmp_path / "packed"
    arguments = ["--corpus", str(tmp_path / "speech"), "--noise", str(tmp_path / "noise")]
    assert speech.main([*arguments, "--output", str(packed)]) == 0
    assert "broken.wav" in capsys.readouterr().err
    speakers = json.loads((packed / "speakers.json").read_text())
    assert len(speakers) == 10
    shares = dict(part.split("=") for part in SPLITS.split(","))
    assert {speaker["split"] for speaker in speakers} <= set(shares)
    for speaker in speakers:
        samples, rate = soundfile.read(packed / speaker["file"])
        piece = samples[speaker["start"] : speaker["stop"]]
        assert rate == RATE
        # Two utterances of two seconds and of a quarter of a second's pause each.
        assert len(piece) / RATE == pytest.approx(4.5, abs=0.2)
        loudest = np.argmax(np.abs(np.fft.rfft(piece))) * RATE / len(piece)
        assert loudest == pytest.approx(200 + 100 * int(speaker["speaker"][-1]), abs=1)
    data, noise = json.loads((packed / "data.json").read_text())
    assert (data["name"], data["use"], noise["use"]) == ("speech", "speech", "noise")
    assert sum(data["speakers"].values()) == 10
    assert data["hours"] == pytest.approx(10 * 4.5 / 3600, abs=0.01)
    rooms = np.load(packed / "rooms.npy")
    assert rooms.dtype == np.int16
    assert rooms.shape[:2] == (2, 2)


@pytest.mark.parametrize("error", [0, 1e-3])
def test_weights_of_pytorch_are_taken_where_both_networks_separate_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: float
) -> None:
    configuration = parse_configuration(CONFIGURATION.read_text("utf-8"), str(CONFIGURATION))
    separator = build_separator(configuration)
    random = np.random.default_rng(0)
    trained = [
        weight + random.normal(0, 0.01, weight.shape).astype(np.float32)
        for weight in separator.network.get_weights()
    ]
    separator.network.set_weights(trained)
    mixture = random.normal(0, 0.1, (1, RATE)).astype(np.float32)
    training = Training(
        "experiments.default_model.pytorch.train",
        {"training": {"batch_size": 32}},
        hours_heard=0.25,
        data=(TrainingData("speech", "speech", hours=0.01, speakers={"train": 8}),),
    )
    np.savez(
        tmp_path / "trained.npz",
        **{f"weight_{number}": weight for number, weight in enumerate(trained)},
        num_weights=len(trained),
        mixture=mixture,
        sources=separator.separate(mixture[..., np.newaxis])[..., 0] + np.float32(error),
        steps=7,
        validation_loss=-1.5,
        validation_si_sdri_db=2.5,
        speech_fingerprint="speech",
        training=json.dumps(dataclasses.asdict(training)),
    )
    folder = tmp_path / "model"
    arguments = ["--trained", str(tmp_path / "trained.npz"), "--model_dir", str(folder)]
    if error:
        assert weights.main(arguments) == 1
        assert "trained.npz: is of another network" in capsys.readouterr().err
        assert not folder.exists()
        return
    assert weights.main(arguments) == 0
    _, best = ModelDir(str(folder)).load_best()
    for ours, theirs in zip(best.network.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    metrics = ModelDir(str(folder)).read_metrics()
    assert (metrics.steps, metrics.validation_si_sdri_db) == (7, 2.5)
    assert metrics.training == training


def test_a_bundle_gives_pytorch_the_weights_to_start_from(tmp_path: Path) -> None:
    bundle, start = "beam_jobs/models/default", tmp_path / "start.npz"
    assert weights.main(["--bundle", bundle, "--start", str(start)]) == 0
    configuration = parse_configuration(CONFIGURATION.read_text("utf-8"), str(CONFIGURATION))
    separator = build_separator(configuration)
    with np.load(start) as arrays:
        numbers = range(int(arrays["num_weights"]))
        separator.network.set_weights([arrays[f"weight_{number}"] for number in numbers])
    mixture = np.random.default_rng(0).normal(0, 0.1, (1, RATE, 1)).astype(np.float32)
    model = tf.saved_model.load(f"{bundle}/saved_model").signatures["serving_default"]
    expected = model(waveform=tf.constant(mixture))["sources"].numpy()
    np.testing.assert_allclose(separator.separate(mixture), expected, atol=1e-5)

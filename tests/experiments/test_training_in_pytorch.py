"""Training in PyTorch, on a CPU: `make pytorch-test`."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments.default_model.pytorch import DATA, NOISE, ROOMS, SPEAKERS, weights

RATE = 8000
REPOSITORY = Path(__file__).parents[2]

DRAW = """
import dataclasses, sys
from pathlib import Path
import numpy as np, torch
from experiments.default_model.pytorch.mixtures import Mixtures, Speech
from experiments.default_model.pytorch.settings import read_settings

settings = dataclasses.replace(
    read_settings().mixtures, turn_taking_share=1.0, room_share=0.0, one_speaker_share=0.0
)
speech = Speech(Path(sys.argv[1]), "cpu")
mixtures = Mixtures(speech, ["train"], 32000, settings, is_plain=False)
_, sources = mixtures.draw(40, torch.Generator().manual_seed(0))
np.save(sys.argv[2], sources.numpy())
"""

TRAIN = """
import dataclasses, sys
from pathlib import Path
from experiments.default_model.pytorch import train

settings = train.read_settings()
few = dataclasses.replace(settings.training, batch_size=1, num_validation_mixtures=1)
train.read_settings = lambda: dataclasses.replace(settings, training=few)
train._STEPS_AT_ONCE = 1
folder, start, output, minutes = sys.argv[1:]
train.train(Path(folder), Path(output), float(minutes), Path(start))
"""


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Two speakers to train on and two to validate, who never pause; noise; a bare room."""
    random = np.random.default_rng(0)
    speakers = [
        {"speaker": f"{number}", "corpus": "noisy", "split": split, "file": "speech-0-0.wav"}
        | {"start": 5 * RATE * number, "stop": 5 * RATE * (number + 1)}
        for number, split in enumerate(("train", "train", "validation", "validation"))
    ]
    for name in ("speech-0-0.wav", NOISE):
        samples = random.normal(0, 0.05, 20 * RATE)
        soundfile.write(tmp_path / name, samples, RATE, format="WAV")
    np.save(tmp_path / ROOMS, np.full((1, 2, 1), 32767, np.int16))
    (tmp_path / SPEAKERS).write_text(json.dumps(speakers))
    (tmp_path / DATA).write_text("[]")
    return tmp_path


@pytest.mark.pytorch
def test_people_who_take_turns_are_both_heard_and_change_places(packed: Path, pytorch: str) -> None:
    drawn = packed / "drawn.npy"
    subprocess.run([pytorch, "-c", DRAW, str(packed), str(drawn)], cwd=REPOSITORY, check=True)
    frames = np.load(drawn).reshape(40, 2, -1, RATE // 100)
    is_heard = np.square(frames).mean(axis=-1) > 1e-4
    heard_s = is_heard.sum(axis=-1) / 100
    assert heard_s.min() > 0.5
    assert heard_s.max() < 4
    both, nobody = is_heard.all(axis=1).sum(axis=-1) / 100, (~is_heard.any(axis=1)).mean(axis=-1)
    assert both.mean() < 1
    assert nobody.max() < 0.5
    changes = np.abs(np.diff(is_heard.astype(int), axis=-1)).sum(axis=(1, 2))
    assert changes.min() >= 1
    assert changes.mean() > 3


@pytest.mark.pytorch
def test_training_begins_with_a_bundle_and_goes_on_where_it_stopped(
    packed: Path, pytorch: str, tmp_path: Path
) -> None:
    start, trained = tmp_path / "start.npz", tmp_path / "trained.npz"
    assert weights.main(["--bundle", "beam_jobs/models/default", "--start", str(start)]) == 0
    steps = []
    # The second run has no time left, so that it ends with what the first one has written.
    for minutes in ("0.05", "0.0001"):
        arguments = [str(packed), str(start), str(trained), minutes]
        subprocess.run([pytorch, "-c", TRAIN, *arguments], cwd=REPOSITORY, check=True)
        with np.load(trained) as file:
            steps.append(int(file["steps"]))
    assert steps[0] > 0
    assert steps[1] == steps[0]
    assert weights.main(["--trained", str(trained), "--model_dir", str(tmp_path / "model")]) == 0

"""Two channels all the way: from the files of a corpus to the batches that a model trains on."""

import json

import numpy as np
import pytest
import soundfile
from small_datasets import SAMPLE_RATE, build, voice, write_recipe

from beam_jobs import verify_dataset
from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.dataset.reading import open_dataset, read_mixtures
from beam_jobs.rendering.loudness import integrated_loudness_lufs
from schemas.recipe_config import parse_recipe_config
from schemas.validation import InvalidDocumentError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Speakers who are louder on the left, and speakers with mono files."""
    folder = tmp_path_factory.mktemp("corpus")
    for speaker in range(4):
        (folder / f"speaker{speaker}").mkdir()
        for number in range(2):
            sound = voice(100 + 20 * speaker + number, 0.8)
            if speaker % 2:
                sound = np.stack([sound, 0.25 * sound], axis=1)
            soundfile.write(folder / f"speaker{speaker}/{number}.flac", sound, SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stereo")
    recipe = write_recipe(folder / "recipe.json")
    arguments = [f"--recipe={recipe}", "--channels=stereo", "--splits=train=1"]
    return build(*arguments, corpus=corpus, output=folder / "dataset")


def test_stereo_files_keep_their_channels_and_mono_ones_sound_in_both(built):
    assert built.status == 0
    described = open_dataset(str(built.folder))
    assert described.num_channels == 2
    for info in described.shards:
        for stored in read_mixtures(str(built.folder), described, info):
            np.testing.assert_array_equal(stored.mixture, stored.sources.sum(axis=0))
            for placed, source in zip(stored.recipe.sources, stored.sources, strict=True):
                left, right = source.astype(float).T
                share = 0.25 if int(placed.speaker[-1]) % 2 else 1.0
                # Each channel is within one step of its exact value.
                np.testing.assert_allclose(right, share * left, atol=2)


def test_a_stereo_dataset_is_measured_and_verified_like_any_other(built):
    assert built.quality["checks"] == dict.fromkeys(built.quality["checks"], 0)
    assert verify_dataset.main([f"--dataset={built.folder}"]) == 0
    features = json.loads((built.folder / "features.json").read_text())
    shape = features["featuresDict"]["features"]["mixture"]["tensor"]["shape"]
    assert shape == {"dimensions": ["-1", "2"]}


def test_rooms_are_not_for_stereo(tmp_path):
    recipe = json.loads(write_recipe(tmp_path / "recipe.json").read_text()) | {"rooms": "recorded"}
    with pytest.raises(InvalidDocumentError, match="rooms and channels stereo do not go together"):
        parse_recipe_config(json.dumps(recipe | {"channels": "stereo"}), "recipe.json")


def test_a_segment_of_more_than_two_channels_is_not_stereo(tmp_path):
    path = tmp_path / "six.wav"
    soundfile.write(path, np.zeros((100, 6)), SAMPLE_RATE)
    with pytest.raises(UnusableAudioError, match="6 channels: stereo is made of one or two"):
        read_segment(str(path), 0, 100, "stereo")


def test_two_channels_are_louder_than_one_of_them():
    sound = voice(200, 0.3)
    both = np.stack([sound, sound], axis=1)
    mono_lufs, stereo_lufs = (
        integrated_loudness_lufs(samples, SAMPLE_RATE) for samples in (sound, both)
    )
    # BS.1770 adds the power of the channels up.
    assert stereo_lufs == pytest.approx(mono_lufs + 10 * np.log10(2), abs=0.01)

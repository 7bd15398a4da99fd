"""From mixtures to a model that tells voices apart, small enough to watch."""

import dataclasses
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import save_bundle

from command_line import progress
from schemas.errors import UserError
from schemas.validation import InvalidDocumentError
from schemas.voice_configuration import parse_voice_configuration
from schemas.voice_model import SAVED_MODEL, VOICES, parse_voice_model
from training.voices import packed_speech, speech, train
from training.voices.batches import Batches
from training.voices.model_export import export
from training.voices.network import build_network
from training.voices.training_loop import restore_network
from training.voices.training_loop import train as train_voices

TINY = {
    "num_bands": 8,
    "band_filters": 4,
    "num_channels": 8,
    "num_blocks": 1,
    "dimension": 6,
    "crops_s": [0.5],
    "batch_s": 4,
    "num_steps": 2,
    "warmup_steps": 1,
}


@pytest.fixture(scope="module")
def configuration():
    text = resources.files("training.voices").joinpath("configs/voices_8k.json").read_text("utf-8")
    return parse_voice_configuration(json.dumps(json.loads(text) | TINY), "tiny.json")


@pytest.fixture(scope="module")
def packed(dataset_writer, tmp_path_factory):
    """The folder with the speech of a small dataset, clean."""
    folder = tmp_path_factory.mktemp("voices")
    numbers = {"train": 8, "validation": 4, "test": 8}
    dataset = dataset_writer(folder / "mixtures", duration_s=6.0, num_mixtures=numbers)
    output = ["--output", str(folder / "speech")]
    assert speech.main(["--dataset", str(dataset), *output]) == 0
    return folder / "speech"


@pytest.fixture(scope="module")
def trained(packed, configuration, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("model")
    train_voices(configuration, packed, model_dir)
    return model_dir


def weights(model_dir):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(model_dir)))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("network/")]
    return {name: reader.get_tensor(name) for name in names}


def test_every_utterance_is_packed_under_its_speaker_and_without_its_pauses(packed):
    (one,) = packed_speech.open_speech(packed)
    assert {piece.voice for piece in one.pieces} == {f"generated/speaker-{n}" for n in range(4)}
    assert {piece.split for piece in one.pieces} == {"train", "validation", "test"}
    for piece in one.pieces:
        steps = one.pcm[piece.start : piece.stop].reshape(-1, 160).astype(float)
        assert (np.sqrt((steps**2).mean(axis=1)) > 30).all()


def test_what_is_packed_already_is_not_packed_again(packed):
    before = {path: path.stat().st_mtime_ns for path in packed.iterdir()}
    packed_speech.pack(str(packed.parent / "mixtures"), packed, separator=None, separated_s=0)
    assert {path: path.stat().st_mtime_ns for path in packed.iterdir()} == before


def test_packing_says_how_far_it_is(packed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0)
    packed_speech.pack(str(packed.parent / "mixtures"), tmp_path, separator=None, separated_s=0)
    assert "mixtures: 2 pieces of clean speech, 0.00 h\n" in capsys.readouterr().err


def test_what_an_output_has_to_itself_is_packed_under_the_speaker_who_is_in_it(
    make_dataset, tmp_path
):
    # One output has all of the mixture: it is alone where one of the two speaks.
    loud_and_soft = save_bundle(
        tmp_path / "bundle",
        lambda tf, waveform: tf.stack([waveform, waveform / 100], axis=1),
        aligned=False,
    )
    dataset = make_dataset(duration_s=4.0, offset_s=2.0)
    arguments = ["--separator", str(loud_and_soft), "--output", str(tmp_path / "speech")]
    assert speech.main(["--dataset", str(dataset), *arguments]) == 0
    separated = {one.kind: one for one in packed_speech.open_speech(tmp_path / "speech")}[
        "separated"
    ]
    assert separated.pieces
    assert {piece.split for piece in separated.pieces} == {"train", "validation", "test"}


def test_steps_are_alone_where_the_others_are_silent():
    first = np.r_[np.ones(1600), np.zeros(1600), np.ones(1600)].astype(np.float32)
    second = np.r_[np.zeros(1600), np.zeros(1600), np.ones(1600)].astype(np.float32)
    alone = packed_speech.where_alone(np.stack([first, second]), 8000)
    assert alone.tolist() == [[True] * 10 + [False] * 20, [False] * 30]
    assert len(packed_speech.keep_steps(first, alone[0], 8000)) == 1600


def test_a_batch_is_a_function_of_the_step(packed, configuration):
    one, other = (Batches(packed_speech.open_speech(packed), configuration) for _ in range(2))
    np.testing.assert_array_equal(one[5].waveform, other[5].waveform)
    assert not np.array_equal(one[5].waveform, one[6].waveform)
    assert one[5].waveform.shape == (8, 4000)
    assert set(one[5].labels) <= set(range(one.num_labels))


def test_each_speed_makes_another_voice(packed, configuration):
    faster = dataclasses.replace(configuration, speeds=(0.8, 1.0, 1.25))
    batches = Batches(packed_speech.open_speech(packed), faster)
    assert batches.num_labels == 3 * len(batches.voices)
    assert max(label for step in range(8) for label in batches[step].labels) >= len(batches.voices)


def test_training_goes_on_where_it_stopped(packed, configuration, trained, tmp_path):
    for _ in range(configuration.num_steps):
        train_voices(configuration, packed, tmp_path / "halting", max_minutes=0)
    one, other = weights(trained), weights(tmp_path / "halting")
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], atol=1e-4)


def test_a_folder_with_another_model_is_left_alone(packed, configuration, tmp_path, capsys):
    wider = dataclasses.replace(configuration, dimension=7).to_json()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/configuration.json").write_text(wider)
    (tmp_path / "tiny.json").write_text(configuration.to_json())
    arguments = ["--config", str(tmp_path / "tiny.json"), "--model_dir", str(tmp_path / "model")]
    assert train.main([*arguments, "--speech", str(packed)]) == 1
    assert "holds a model of another configuration" in capsys.readouterr().err
    assert (tmp_path / "model/configuration.json").read_text() == wider


def test_a_new_model_can_begin_with_the_weights_of_another(trained, configuration):
    network = build_network(configuration)
    assert restore_network(network, trained) == configuration.num_steps
    layer = network.layers[-2]
    assert any(np.array_equal(value, layer.get_weights()[0]) for value in weights(trained).values())
    wider = build_network(dataclasses.replace(configuration, dimension=7))
    with pytest.raises(UserError, match="holds another network"):
        restore_network(wider, trained)


def test_a_new_model_begins_alike_with_a_trained_model_and_with_its_export(
    packed, configuration, trained, tmp_path
):
    export(trained, packed, tmp_path / "voices")
    for name, start in (("one", trained), ("other", tmp_path / "voices")):
        train_voices(configuration, packed, tmp_path / name, start_from=start, max_minutes=0)
    other = weights(tmp_path / "other")
    for name, value in weights(tmp_path / "one").items():
        np.testing.assert_allclose(value, other[name], atol=1e-6)
    wider = dataclasses.replace(configuration, dimension=7)
    with pytest.raises(UserError, match="holds another network"):
        train_voices(wider, packed, tmp_path / "wider", start_from=tmp_path / "voices")


def test_the_model_embeds_speech_of_any_length_and_level(packed, configuration, trained, tmp_path):
    model = export(trained, packed, tmp_path / "voices")
    assert parse_voice_model((tmp_path / "voices" / VOICES).read_text(), VOICES) == model
    assert model.provenance.steps == configuration.num_steps
    assert any(name.endswith("clean, all") for name in model.metrics)
    embed = tf.saved_model.load(str(tmp_path / "voices" / SAVED_MODEL)).signatures[
        "serving_default"
    ]
    noise = np.random.default_rng(0).standard_normal((2, 24000)).astype(np.float32)
    for length in (1, 100, 4000, 24000):
        embedding = embed(waveform=tf.constant(noise[:, :length]))["embedding"].numpy()
        assert embedding.shape == (2, configuration.dimension)
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-4)
    loud, soft = (
        embed(waveform=tf.constant(noise * gain))["embedding"].numpy() for gain in (1, 0.03)
    )
    np.testing.assert_allclose(loud, soft, atol=0.05)


def test_a_voice_model_does_not_go_over_a_bundle(packed, trained, tmp_path):
    (tmp_path / "bundle.json").touch()
    (tmp_path / "saved_model").mkdir()
    with pytest.raises(UserError, match=r"something else, such as bundle\.json"):
        export(trained, packed, tmp_path)
    assert not list((tmp_path / "saved_model").iterdir())


def test_a_configuration_that_contradicts_itself_is_refused(configuration):
    text = dataclasses.replace(configuration, batch_s=0.5).to_json()
    with pytest.raises(InvalidDocumentError, match="fewer than two crops"):
        parse_voice_configuration(text, "short.json")
    assert parse_voice_configuration(configuration.to_json(), "same.json") == configuration


def test_speech_that_is_missing_is_said(configuration, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no speech in it"):
        train_voices(configuration, tmp_path / "empty", tmp_path / "model")


def test_the_model_that_ships_is_small_and_described():
    folder = resources.files("beam_jobs") / "models/voices"
    model = parse_voice_model((folder / VOICES).read_text("utf-8"), VOICES)
    assert model.sample_rate == 8000
    assert parse_voice_configuration(json.dumps(model.configuration), VOICES)
    assert sum(path.stat().st_size for path in Path(str(folder)).rglob("*")) < 3 << 20
    embed = tf.saved_model.load(str(folder / SAVED_MODEL)).signatures["serving_default"]
    embedding = embed(waveform=tf.ones([3, 8000]))["embedding"]
    assert embedding.shape == (3, model.dimension)

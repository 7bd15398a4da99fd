"""From mixtures to a bundle that keeps what is above its separator's band."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import save_bundle, split_bands

from beam_jobs.separation.models import describe_model
from command_line import progress
from schemas.errors import UserError
from training.upper_band import pack, packed_mixtures, train
from training.upper_band.bands import BANDS, energies
from training.upper_band.batches import draw_batch
from training.upper_band.losses import loss
from training.upper_band.network import Network
from training.upper_band.packed_mixtures import open_packed

NUM_BANDS = len(BANDS.edges_hz) - 1


@pytest.fixture(scope="module")
def separator(tmp_path_factory):
    return save_bundle(tmp_path_factory.mktemp("bands"), split_bands, aligned=True)


@pytest.fixture(scope="module")
def packed(dataset_writer, separator, tmp_path_factory):
    """A folder with the packed mixtures of a small dataset."""
    folder = tmp_path_factory.mktemp("upper")
    numbers = {"train": 3, "validation": 1}
    dataset = dataset_writer(
        folder / "mixtures", sample_rate=16000, duration_s=2.0, num_mixtures=numbers
    )
    options = ["--dataset", str(dataset), "--separator", str(separator)]
    assert pack.main([*options, "--output", str(folder / "packed")]) == 0
    return folder / "packed"


def silence_and_noise(num_sources=3, num_frames=40, num_silent=1):
    random = np.random.default_rng(0)
    lower = random.gamma(1, 1, (1, num_sources, num_frames, 16)).astype(np.float32)
    lower[:, num_sources - num_silent :] = 0
    upper = random.gamma(1, 1, (1, num_frames, NUM_BANDS)).astype(np.float32)
    return lower, upper


def random_network():
    """A network whose shares differ from output to output, as those of a trained one do."""
    tf.keras.utils.set_random_seed(1)
    network = Network(NUM_BANDS)
    network(*silence_and_noise())
    for variable in network.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.1))
    tf.random.set_seed(None)
    return network


def test_shares_follow_the_outputs_in_any_order_and_number():
    network = random_network()
    lower, upper = silence_and_noise()
    shares = network(lower, upper).numpy()
    assert shares.shape == (1, 3, 40, NUM_BANDS)
    turned = network(lower[:, [2, 0, 1]], upper).numpy()
    np.testing.assert_allclose(turned, shares[:, [2, 0, 1]], atol=1e-5)
    assert network(lower[:, :1], upper).shape == (1, 1, 40, NUM_BANDS)


def test_an_output_without_sound_gets_nothing_and_all_together_at_most_everything():
    shares = random_network()(*silence_and_noise()).numpy()
    assert not shares[:, 2].any()
    assert shares[:, :2].min() > 0
    assert shares.sum(axis=1).max() < 1


def test_the_energies_in_bands_are_those_of_the_signal():
    noise = np.random.default_rng(0).standard_normal(64_000).astype(np.float32)
    found = energies(tf.constant(noise), 16000, (0.0, 4000.0, 8000.0)).numpy()
    np.testing.assert_allclose(found[5:-5].mean(axis=0), [128, 129], rtol=0.03)


def test_windows_are_packed_with_the_energies_of_their_sources(packed):
    mixtures = open_packed(packed, "train")
    # Mixtures of two seconds in windows of one.
    assert mixtures.separated.shape[:2] == (6, 2)
    assert mixtures.products.shape[2:] == (NUM_BANDS, 3, 3)
    np.testing.assert_allclose(
        mixtures.products, mixtures.products.swapaxes(3, 4), rtol=1e-4, atol=1e-9
    )
    with pytest.raises(UserError, match=r"no \*\.test\.npz"):
        open_packed(packed, "test")


def test_packing_says_how_far_it_is(packed, separator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0)
    packed_mixtures.pack(
        str(packed.parent / "mixtures"), tmp_path, separator=str(separator), minutes=1
    )
    assert "validation: 2 windows separated\n" in capsys.readouterr().err


def test_the_separators_rate_is_no_rate_for_an_upper_band(
    make_dataset, separator, tmp_path, capsys
):
    options = ["--dataset", str(make_dataset()), "--separator", str(separator)]
    assert pack.main([*options, "--output", str(tmp_path / "packed")]) == 1
    assert "8000 Hz" in capsys.readouterr().err


def test_true_shares_lose_less_than_equal_ones(packed):
    mixtures = open_packed(packed, "train")
    energy = np.diagonal(mixtures.products, axis1=3, axis2=4)[..., :2]
    true = np.moveaxis(np.sqrt(energy / (energy.sum(axis=-1, keepdims=True) + 1e-12)), 3, 1)
    lower = mixtures.clean + 1e-6
    equal = np.full_like(true, 0.5)
    assert loss(true, lower, mixtures.products) < loss(equal, lower, mixtures.products)


def test_a_batch_is_a_function_of_the_seed_and_the_step(packed):
    mixtures = open_packed(packed, "train")
    one, again, other = (draw_batch(mixtures, 4, 0, step) for step in (5, 5, 6))
    np.testing.assert_array_equal(one.products, again.products)
    assert not np.array_equal(one.products, other.products)


def test_training_gives_a_bundle_its_upper_band(packed, separator, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(separator, bundle)
    arguments = ["--packed", str(packed), "--bundle", str(bundle), "--steps", "2"]
    assert train.main(arguments) == 0
    described = json.loads((bundle / "bundle.json").read_text())["upper_band"]
    assert described["edges_hz"] == list(BANDS.edges_hz)
    assert described["provenance"]["steps"] == 2
    assert describe_model(str(bundle)).upper_band.sample_rate == 16000
    share = tf.saved_model.load(str(bundle / "upper_band")).signatures["serving_default"]
    shares = share(upper=tf.zeros([1, 16000]), sources=tf.ones([1, 2, 8000]))["shares"]
    # A frame at both ends, too.
    assert shares.shape == (1, 2, 63, NUM_BANDS)

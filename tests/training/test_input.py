import dataclasses
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from schemas.configuration import Configuration
from schemas.dataset import COMPLETED
from schemas.errors import UserError
from training.input import (
    MixtureDataset,
    UnusableDatasetError,
    open_dataset,
    read_examples,
    remix,
    training_batches,
    validation_batches,
)

MakeDataset = Callable[..., Path]
MakeConfiguration = Callable[..., Configuration]


def opened(folder: Path, configuration: Configuration) -> MixtureDataset:
    return open_dataset(str(folder), configuration, ["train"])


def batches(
    folder: Path, configuration: Configuration, count: int, first_step: int = 0
) -> list[dict[str, Any]]:
    dataset = opened(folder, configuration)
    found = training_batches(dataset, configuration, first_step).as_numpy_iterator()
    return list(islice(found, count))


def test_an_example_is_a_stretch_of_a_mixture_with_its_sources(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    config = configuration("unet_8k", batch_size=4, T=64)
    (batch,) = batches(make_dataset(), config, 1)
    assert batch["mixture"].shape == (4, config.num_samples, 1)
    assert batch["sources"].shape == (4, 2, config.num_samples, 1)
    assert np.abs(batch["sources"]).max(axis=(0, 2, 3)).min() > 0.01
    np.testing.assert_array_equal(batch["mixture"], batch["sources"].sum(axis=1))


def test_a_compressed_dataset_is_read_as_any_other(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    config = configuration("unet_8k", batch_size=4, T=64)
    folders = make_dataset("plain"), make_dataset("compressed", compression="GZIP")
    plain, compressed = (opened(folder, config) for folder in folders)
    assert list(read_examples(compressed, "train")) == list(read_examples(plain, "train"))
    np.testing.assert_array_equal(
        batches(folders[1], config, 1)[0]["mixture"], batches(folders[0], config, 1)[0]["mixture"]
    )


def test_training_hears_what_became_of_the_mixtures_on_their_transmission(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    folder = make_dataset(degraded=True)
    config = configuration("unet_8k", batch_size=4, T=64, dynamic_remixing=False)
    degraded = dataclasses.replace(config, mixture="degraded")
    (given,), (heard,) = (batches(folder, one, 1) for one in (config, degraded))
    np.testing.assert_array_equal(heard["sources"], given["sources"])
    np.testing.assert_array_equal(heard["mixture"], -given["mixture"])


def test_a_dataset_without_degraded_mixtures_is_refused_where_they_are_asked_for(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    with pytest.raises(UnusableDatasetError, match="nothing in it is degraded, but the config"):
        opened(make_dataset(), configuration("unet_8k", mixture="degraded", dynamic_remixing=False))


def test_a_mixture_shorter_than_an_example_is_padded_with_silence(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    config = configuration("unet_8k", batch_size=2, T=256)
    (batch,) = batches(make_dataset(duration_s=2.0, offset_s=0.0), config, 1)
    assert np.abs(batch["mixture"][:, :16000]).max() > 0.01
    assert not batch["sources"][:, :, 16000:].any()


def test_every_mixture_is_seen_once_in_an_epoch_and_epochs_differ(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    config = configuration("unet_8k", batch_size=1, T=64)
    folder = make_dataset(num_mixtures={"train": 8}, duration_s=2.0)
    seen = [str(batch["id"][0]) for batch in batches(folder, config, 16)]
    assert len(set(seen[:8])) == 8
    assert set(seen[8:]) == set(seen[:8])
    assert seen[8:] != seen[:8]


@pytest.mark.parametrize("first_step", [1, 3, 7])
def test_training_goes_on_with_the_batches_it_would_have_seen(
    make_dataset: MakeDataset, configuration: MakeConfiguration, first_step: int
) -> None:
    config = configuration("joint_tcn_mask_8k", batch_size=3, T=64)
    folder = make_dataset()
    straight = batches(folder, config, 9)[first_step:]
    resumed = batches(folder, config, 9 - first_step, first_step)
    for expected, found in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(found["sources"], expected["sources"])
        np.testing.assert_array_equal(found["mixture"], expected["mixture"])


def test_another_seed_cuts_and_orders_differently(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    folder = make_dataset()
    (one,) = batches(folder, configuration("unet_8k", T=64, random_seed=1), 1)
    (other,) = batches(folder, configuration("unet_8k", T=64, random_seed=2), 1)
    assert (one["mixture"] != other["mixture"]).any()


def test_onset_order_puts_who_starts_first_into_the_first_output(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    config = configuration("joint_tcn_mask_onset_8k", batch_size=8, T=128, dynamic_remixing=False)
    (batch,) = batches(make_dataset(reverse_order=True), config, 1)
    onsets = (batch["sources"][..., 0] != 0).argmax(axis=-1)
    assert (onsets[:, 0] < onsets[:, 1]).all()


def test_onset_order_puts_silent_rows_last(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    config = configuration(
        "joint_tcn_mask_onset_8k",
        batch_size=8,
        T=128,
        dynamic_remixing=False,
        loss_type="onset_log_mse",
        instrument_list=["a", "b", "c"],
    )
    folder = make_dataset(num_sources=3, reverse_order=True, silent_rows=True)
    (batch,) = batches(folder, config, 1)
    is_heard = batch["sources"].any(axis=(2, 3))
    assert sorted(is_heard.sum(axis=1)) == [1, 1, 1, 2, 2, 2, 3, 3]
    assert (is_heard[:, :-1] >= is_heard[:, 1:]).all()
    onsets = (batch["sources"][..., 0] != 0).argmax(axis=-1)
    assert (onsets[:, 0] < np.where(is_heard[:, 1], onsets[:, 1], np.inf)).all()


def test_validation_is_the_same_stretch_of_every_mixture_each_time(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    config = configuration("unet_8k", batch_size=3, T=64)
    dataset = open_dataset(str(make_dataset()), config, ["validation"])
    rounds = [
        np.concatenate(
            [b["mixture"] for b in validation_batches(dataset, config).as_numpy_iterator()]
        )
        for _ in range(2)
    ]
    assert rounds[0].shape == (4, config.num_samples, 1)
    np.testing.assert_array_equal(*rounds)


def clicks(batch_size: int) -> dict[str, tf.Tensor]:
    """Each source clicks once, example `i` at sample `i`; the noise is a click at the end."""
    sources = np.zeros((batch_size, 2, batch_size + 1, 1), np.float32)
    sources[np.arange(batch_size), :, np.arange(batch_size)] = 0.1
    mixture = sources.sum(axis=1)
    mixture[:, -1] = 0.5
    return {"mixture": tf.constant(mixture), "sources": tf.constant(sources)}


def test_remixing_makes_new_partners_at_new_levels_and_keeps_the_noise() -> None:
    speakers = tf.constant([[f"a{i}", f"b{i}"] for i in range(6)])
    partners = set()
    for seed in range(4):
        mixed = {
            k: v.numpy() for k, v in remix(clicks(6), speakers, tf.constant([1, seed])).items()
        }
        first, second = mixed["sources"][..., 0].argmax(axis=-1).T
        assert sorted(first) == sorted(second) == list(range(6))
        partners |= set(zip(first, second, strict=True))
        gains_db = 20 * np.log10(mixed["sources"].max(axis=(2, 3)) / 0.1)
        assert np.abs(gains_db).max() <= 2.5
        assert np.ptp(gains_db) > 1
        noise = mixed["mixture"] - mixed["sources"].sum(axis=1)
        np.testing.assert_allclose(noise[:, -1], 0.5)
        np.testing.assert_allclose(noise[:, :-1], 0, atol=1e-7)
    assert len(partners) > 6


def test_remixing_never_pairs_a_speaker_with_herself() -> None:
    names = np.array([["a", "b"], ["b", "a"], ["a", "b"], ["b", "c"]])
    for seed in range(8):
        mixed = remix(clicks(4), tf.constant(names), tf.constant([1, seed]))
        first, second = mixed["sources"].numpy()[..., 0].argmax(axis=-1).T
        assert (names[first, 0] != names[second, 1]).all()


def test_remixing_keeps_silent_rows_and_the_number_of_speakers_of_a_mixture() -> None:
    batch = clicks(6)
    is_heard = np.ones((6, 2), bool)
    is_heard[[1, 4], 1] = False
    sources = batch["sources"] * is_heard[:, :, np.newaxis, np.newaxis]
    speakers = np.array([[f"a{i}", f"b{i}"] for i in range(6)])
    speakers[~is_heard] = ""
    mixture = tf.reduce_sum(sources, axis=1)
    partners = set()
    for seed in range(4):
        mixed = remix(
            {"mixture": mixture, "sources": sources}, tf.constant(speakers), tf.constant([1, seed])
        )
        remixed = mixed["sources"].numpy()[..., 0]
        np.testing.assert_array_equal(remixed.any(axis=-1), is_heard)
        np.testing.assert_allclose(mixed["mixture"][..., 0], remixed.sum(axis=1), atol=1e-7)
        first, second = remixed.argmax(axis=-1).T
        assert sorted(first) == list(range(6))
        assert sorted(second[is_heard[:, 1]]) == [0, 2, 3, 5]
        partners |= set(zip(first, second[is_heard[:, 1]], strict=False))
    assert len(partners) > 4


@pytest.mark.parametrize(
    ("loss_type", "remedy"),
    [
        ("pit_snr", "pit_log_mse"),
        ("onset_si_sdr", "onset_log_mse"),
        ("weighted_L1_mask", "L1_mask"),
    ],
)
def test_a_loss_that_learns_nothing_of_silent_rows_is_refused_for_training_alone(
    make_dataset: MakeDataset, configuration: MakeConfiguration, loss_type: str, remedy: str
) -> None:
    folder = make_dataset(silent_rows=True)
    config = configuration("joint_tcn_mask_8k", loss_type=loss_type)
    message = f"have silent rows, of which a model learns nothing by loss_type {loss_type}; use"
    with pytest.raises(UnusableDatasetError, match=f"{message} {remedy}$"):
        open_dataset(str(folder), config, ["train", "validation"])
    open_dataset(str(folder), config, ["test"])
    open_dataset(str(folder), configuration("joint_tcn_mask_8k", loss_type=remedy), ["train"])


@pytest.mark.parametrize(
    ("spoil", "changes", "message"),
    [
        (lambda folder: (folder / COMPLETED).unlink(), {}, "no COMPLETED file"),
        (lambda _: None, {"sample_rate": 16000}, "8000 Hz, but .* for 16000 Hz"),
        (
            lambda _: None,
            {"instrument_list": ["a", "b", "c"]},
            "2 sources in a mixture, but the configuration names 3",
        ),
        (
            lambda folder: (folder / "voices-train.tfrecord-00001-of-00002").write_bytes(b"x"),
            {},
            "voices-train.tfrecord-00001-of-00002: 1 bytes, but",
        ),
        (
            lambda folder: (folder / "voices-train.tfrecord-00000-of-00002").unlink(),
            {},
            "shard is missing",
        ),
    ],
)
def test_a_dataset_that_can_not_be_used_is_refused_before_training(
    make_dataset: MakeDataset,
    configuration: MakeConfiguration,
    spoil: Callable[[Path], object],
    changes: dict[str, Any],
    message: str,
) -> None:
    folder = make_dataset()
    spoil(folder)
    with pytest.raises(UserError, match=message):
        open_dataset(str(folder), configuration("unet_8k", **changes), ["train"])


def test_an_empty_split_is_refused_before_training(
    make_dataset: MakeDataset, configuration: MakeConfiguration
) -> None:
    folder = make_dataset(num_mixtures={"train": 4})
    with pytest.raises(UnusableDatasetError, match="the validation split is empty"):
        open_dataset(str(folder), configuration("unet_8k"), ["train", "validation"])

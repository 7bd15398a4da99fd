"""Training on the stems of Spleeter's CSVs: in stereo, on their own mixtures or on their sums."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from small_datasets import build
from stems import RATE, noise, write_csv, write_song

from schemas.configuration import Configuration
from training.input import UnusableDatasetError, open_dataset, training_batches
from training.separator import build_separator

MakeConfiguration = Callable[..., Configuration]
Tracks = dict[str, npt.NDArray[np.int16]]

STEREO = {
    "n_channels": 2,
    "instrument_list": ["vocals", "drums"],
    "T": 64,
    "batch_size": 1,
    "dynamic_remixing": False,
}


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tracks]:
    """A dataset of one song whose mixture is no sum, and what is in its files."""
    corpus = tmp_path_factory.mktemp("corpus") / "stems"
    vocals, drums = noise(1), noise(2)
    tracks = write_song(
        corpus / "song", {"mix": vocals + 2 * drums, "vocals": vocals, "drums": drums}
    )
    write_csv(corpus / "train.csv", ["song"])
    output = tmp_path_factory.mktemp("built") / "dataset"
    assert build(f"--recipes={corpus / 'train.csv'}", corpus=corpus, output=output).status == 0
    return output, tracks


def first_batch(folder: Path, configuration: Configuration) -> dict[str, Any]:
    dataset = open_dataset(str(folder), configuration, ["train"])
    (batch,) = islice(training_batches(dataset, configuration, 0).as_numpy_iterator(), 1)
    return batch  # type: ignore[no-any-return]


def test_both_channels_of_every_stem_are_read(
    stems: tuple[Path, Tracks], configuration: MakeConfiguration
) -> None:
    folder, tracks = stems
    config = configuration("unet_8k", **STEREO)
    batch = first_batch(folder, config)
    assert batch["sources"].shape == (1, 2, config.num_samples, 2)
    for source, name in zip(batch["sources"][0], ("vocals", "drums"), strict=True):
        np.testing.assert_array_equal(source[:RATE] * 32768, tracks[name])
    magnitudes = build_separator(config).reference(batch).magnitudes
    assert magnitudes.shape == (1, 2, config.T, config.F, 2)


def test_the_mixture_is_the_files_own_unless_the_sum_is_asked_for(
    stems: tuple[Path, Tracks], configuration: MakeConfiguration
) -> None:
    folder, tracks = stems
    given = first_batch(folder, configuration("unet_8k", **STEREO))
    np.testing.assert_array_equal(given["mixture"][0, :RATE] * 32768, tracks["mix"])
    summed = first_batch(folder, configuration("unet_8k", mixture="sum_of_sources", **STEREO))
    np.testing.assert_array_equal(summed["mixture"], summed["sources"].sum(axis=1))
    np.testing.assert_array_equal(summed["sources"], given["sources"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instrument_list": ["drums", "vocals"]}, "its sources are vocals, drums, but the"),
        ({"n_channels": 1}, "2 channels, but the configuration is for 1"),
    ],
)
def test_other_instruments_and_a_mono_model_are_refused(
    stems: tuple[Path, Tracks],
    configuration: MakeConfiguration,
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(UnusableDatasetError, match=message):
        first_batch(stems[0], configuration("unet_8k", **STEREO | changes))

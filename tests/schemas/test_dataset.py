"""Opening the folder of a dataset."""

import pytest

from schemas.dataset import COMPLETED, UnfinishedDatasetError, open_dataset


def open_folder(folder):
    return open_dataset(
        str(folder), exists=lambda path: (folder / path).exists(), read=lambda path: path
    )


def test_the_folder_above_a_version_is_answered_by_the_one_that_is_meant(tmp_path):
    version = tmp_path / "overlay" / "1.0.0"
    version.mkdir(parents=True)
    with pytest.raises(UnfinishedDatasetError, match="overlay: no COMPLETED file"):
        open_folder(tmp_path / "overlay")
    (version / COMPLETED).touch()
    with pytest.raises(UnfinishedDatasetError, match=r"is in .*overlay/1.0.0: give that folder"):
        open_folder(tmp_path / "overlay")

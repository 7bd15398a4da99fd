import pytest
from tiny_models import save_bundle, split_bands, split_bands_in_any_order


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A bundle whose first output is the low band and whose second is the rest."""
    return save_bundle(tmp_path_factory.mktemp("bands"), split_bands, aligned=True)


@pytest.fixture(scope="session")
def stereo_bundle(tmp_path_factory):
    return save_bundle(tmp_path_factory.mktemp("stereo"), split_bands, aligned=True, num_channels=2)


@pytest.fixture(scope="session")
def swapping_bundle(tmp_path_factory):
    """The same, but the outputs swap from window to window."""
    folder = tmp_path_factory.mktemp("swapping")
    return save_bundle(folder, split_bands_in_any_order, aligned=False)

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from optional import HAS_TENSORFLOW
from selenium import webdriver
from small_datasets import write_corpus, write_recipe

from deploy.flink.cluster import Cluster

if TYPE_CHECKING:
    from cloud_storage import CloudStorage

# No deadline: the cases share the machine with whole pipelines, and would be slow at random.
settings.register_profile("suite", deadline=None, max_examples=50)
settings.load_profile("suite")

if not HAS_TENSORFLOW:
    collect_ignore = ["demo", "experiments", "separation", "training"]

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless Chromium that records its console."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail("no Chromium with its driver here: apt-get install chromium chromium-driver")
    profile: Path = tmp_path_factory.mktemp("chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    chrome = webdriver.Chrome(options, service)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def flink_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Flink cluster, on ports of its own."""
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in free:
            one.bind(("", 0))
        ports = [one.getsockname()[1] for one in free]
    cluster = Cluster(tmp_path_factory.mktemp("flink"), *ports)
    yield cluster
    cluster.stop()


@pytest.fixture
def flink(flink_cluster: Cluster) -> Cluster:
    """The cluster, running even if an earlier test broke it."""
    flink_cluster.start()
    return flink_cluster


@pytest.fixture(scope="session")
def pytorch() -> str:
    """A Python with PyTorch and Lhotse, which take newer packages than TensorFlow 2.12 does."""
    python = os.environ.get("PYTORCH")
    if not python:
        pytest.fail("no Python with PyTorch and Lhotse is named: make pytorch-test PYTORCH=python")
    return python


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eight speakers with three short utterances each."""
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe for mixtures of such short utterances."""
    return write_recipe(tmp_path / "recipe.json")


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator["CloudStorage"]:
    """One Google Cloud Storage for all tests, because clients keep their connections."""
    # Google's client takes two seconds to import, and few tests need it.
    from cloud_storage import run_cloud_storage  # noqa: PLC0415

    with run_cloud_storage(tmp_path_factory.mktemp("service_account")) as running:
        yield running


@pytest.fixture
def cloud_storage(
    network: "CloudStorage", monkeypatch: pytest.MonkeyPatch
) -> Iterator["CloudStorage"]:
    """A bucket, behind a network without faults unless the test sets them."""
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    network.forget()
    yield network
    network.forget()

"""A dataset in Google Cloud Storage, read by TensorFlow's own file system."""

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from cloud_storage import FAULTS, TOKEN

from schemas.configuration import parse_configuration
from training.input import open_dataset, read_examples, training_batches


def digest(folder: str) -> str:
    """Of all examples of a dataset, and of the first batches of them."""
    text = resources.files("training").joinpath("configs/unet_8k.json").read_text()
    configuration = parse_configuration(text, "unet_8k.json")
    dataset = open_dataset(folder, configuration, ["train"])
    found = hashlib.sha256(b"".join(read_examples(dataset, "train")))
    batches = training_batches(dataset, configuration, 0).as_numpy_iterator()
    for batch in itertools.islice(batches, 2):
        found.update(batch["mixture"].tobytes())
    return found.hexdigest()


def test_batches_from_cloud_storage_are_the_local_ones(
    cloud_storage: Any, make_dataset: Callable[..., Path]
) -> None:
    folder = make_dataset(num_mixtures={"train": 8}, duration_s=2.0)
    there = cloud_storage.put(folder, "training")
    cloud_storage.faults = True
    # It asks Google's own address, through a proxy and with a certificate where these are named,
    # which is when it is loaded.
    environment = {
        "CURL_CA_BUNDLE": str(cloud_storage.certificate),
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": TOKEN,
        "HTTPS_PROXY": cloud_storage.address,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = f"from {__name__} import digest; print(digest('{there}'))"
    process = subprocess.run(
        [sys.executable, "-c", command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == digest(str(folder))
    assert cloud_storage.met >= {("read", fault) for fault in FAULTS}
    assert cloud_storage.tokens == {f"Bearer {TOKEN}"}

"""What the documentation shows for PyTorch reads a dataset, with none of this project."""

import re
import subprocess
import sys

import numpy as np
import pytest
from optional import needs_tensorflow
from small_datasets import REPOSITORY, SAMPLE_RATE, build, write_corpus, write_recipe

DOCUMENT = REPOSITORY / "docs" / "pytorch.md"

# Saves what it reads, in batches, for comparison.
SAVE_BATCHES = """
if __name__ == "__main__":
    import sys

    loader = torch.utils.data.DataLoader(
        Mixtures(sys.argv[1], "train"), batch_size=2, num_workers=2, multiprocessing_context="spawn"
    )
    mixtures, sources = map(torch.cat, zip(*loader))
    np.savez("read.npz", mixtures=mixtures.numpy(), sources=sources.numpy())
"""

READ_AT_RANDOM = """
import sys
import numpy as np
import tensorflow_datasets as tfds

mixtures = tfds.builder_from_directory(sys.argv[1]).as_data_source(split="train")
order = list(reversed(range(len(mixtures))))
np.savez(
    "read.npz",
    mixtures=[mixtures[index]["mixture"] for index in order],
    sources=[mixtures[index]["sources"] for index in order],
)
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half_seconds")
    arguments = ["--length=0.5", "--splits=train=1", "--num_shards=3", "--num_mixtures=7"]
    return build(
        f"--recipe={write_recipe(folder / 'recipe.json')}",
        *arguments,
        corpus=write_corpus(folder / "corpus", num_speakers=4),
        output=folder / "dataset" / "1.0.0",
    )


def expected(built):
    examples = built.examples()
    mixtures = [np.frombuffer(example["mixture"][0], np.int16) for example in examples]
    sources = [np.frombuffer(example["sources"][0], np.int16) for example in examples]
    assert len(examples) == 7
    return np.stack(mixtures), np.stack(sources).reshape(7, 2, SAMPLE_RATE // 2)


@pytest.mark.pytorch
def test_the_documented_class_reads_every_sample_in_several_processes(built, tmp_path, pytorch):
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1]
    (tmp_path / "mixtures.py").write_text(code + SAVE_BATCHES)
    command = [pytorch, "mixtures.py", str(built.folder)]
    subprocess.run(command, cwd=tmp_path, check=True)
    mixtures, sources = expected(built)
    read = np.load(tmp_path / "read.npz")
    np.testing.assert_array_equal(read["mixtures"], mixtures / np.float32(1 << 15))
    np.testing.assert_array_equal(read["sources"], sources / np.float32(1 << 15))


@needs_tensorflow
def test_the_documented_conversion_to_array_record_reads_at_random(built, tmp_path):
    options = re.search(r"tfds (convert_format.*?)```", DOCUMENT.read_text(), re.DOTALL)[1]
    arrays = tmp_path / "dataset" / "1.0.0"
    options = options.replace("datasets/overlay/1.0.0", str(built.folder))
    options = options.replace("arrays/overlay/1.0.0", str(arrays)).replace("\\\n", "").split()
    tfds = [sys.executable, "-m", "tensorflow_datasets.scripts.cli.main"]
    converted = subprocess.run(
        [*tfds, *options], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert converted.returncode == 0, converted.stderr
    command = [sys.executable, "-c", READ_AT_RANDOM, str(arrays)]
    subprocess.run(command, cwd=tmp_path, check=True)
    mixtures, sources = expected(built)
    read = np.load(tmp_path / "read.npz")
    np.testing.assert_array_equal(read["mixtures"], mixtures[::-1])
    np.testing.assert_array_equal(read["sources"], sources[::-1])

"""Reads a mixture dataset with TensorFlow Datasets, without any of this project.

python -m demo.read_with_tfds FOLDER RECORDINGS
"""

import logging
import sys
from pathlib import Path

import numpy as np
import soundfile
import tensorflow_datasets as tfds

NUM_RECORDINGS = 4


def main(folder: str, recordings: str) -> None:
    """Prints the contents of a dataset, and whether its first mixture is the sum of its sources.

    Also writes a few mixtures of the split `test` as WAV files.

    Args:
        folder: the dataset.
        recordings: the folder for the WAV files.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    builder = tfds.builder_from_directory(folder)
    sizes = ", ".join(f"{split} {info.num_examples}" for split, info in builder.info.splits.items())
    print(f"TensorFlow Datasets reads {builder.info.full_name}: {sizes}")

    example = next(iter(tfds.as_numpy(builder.as_dataset(split="train"))))
    for name, value in example.items():
        array = np.asarray(value)
        shown = f"{array.dtype} {list(array.shape)}" if array.size > 8 else str(array.tolist())
        print(f"  {name:<12} {shown if len(shown) <= 75 else shown[:72] + '...'}")
    is_sum = np.array_equal(example["mixture"], example["sources"].sum(axis=0))
    print(f"mixture == sum(sources): {is_sum}")

    Path(recordings).mkdir(parents=True, exist_ok=True)
    for test in tfds.as_numpy(builder.as_dataset(split=f"test[:{NUM_RECORDINGS}]")):
        path = Path(recordings) / f"{test['id'].decode()}.wav"
        soundfile.write(path, test["mixture"], test["sample_rate"])


if __name__ == "__main__":
    main(*sys.argv[1:])

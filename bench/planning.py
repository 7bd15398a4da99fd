"""Time and memory of planning: recipes alone, for more and more mixtures of a million utterances.

python bench/planning.py [MIXTURES ...]   (default: 100000 1000000 10000000)
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from beam_jobs.catalogue import SCHEMA, write_table

NUM_UTTERANCES, NUM_SPEAKERS = 1_000_000, 2_000


def utterances() -> Iterator[pa.Table]:
    for first in range(0, NUM_UTTERANCES, 62_500):
        names = [
            f"{number % NUM_SPEAKERS}/{number // NUM_SPEAKERS:06d}"
            for number in range(first, first + 62_500)
        ]
        columns = {
            "id": names,
            "corpus": ["corpus"] * len(names),
            "path": [f"{name}.flac" for name in names],
            "speaker": [name.split("/")[0] for name in names],
            "gender": [""] * len(names),
            "split": [""] * len(names),
            "start": [0] * len(names),
            "stop": [16_000 * 10] * len(names),
            "sample_rate": [16_000] * len(names),
            "num_channels": [1] * len(names),
        }
        yield pa.table(columns, schema=SCHEMA)


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or [100_000, 1_000_000, 10_000_000]
    print("mixtures   seconds   us a recipe   MB at the most")
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name, "corpus")
        corpus.mkdir()
        for count in counts:
            output = Path(name, str(count))
            output.mkdir()
            write_table(str(output / "catalogue.arrow"), utterances())
            command = [sys.executable, "-m", "beam_jobs.build_mixtures", "--recipes_only"]
            command += [f"--corpus={corpus}", f"--output={output}", f"--num_mixtures={count}"]
            start = time.perf_counter()
            subprocess.run(command, check=True)
            elapsed_s = time.perf_counter() - start
            megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
            print(
                f"{count:8}  {elapsed_s:8.1f}  {elapsed_s / count * 1e6:12.1f}  {megabytes:15.0f}"
            )


if __name__ == "__main__":
    main()

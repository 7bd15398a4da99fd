"""Times the catalogue: reading the headers of many files, and a second job, which finds it kept.

python -m bench.catalogue [FILES]   (default: 50000)
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

_FILES_PER_SPEAKER = 500


def write_corpus(corpus: Path, num_files: int) -> None:
    """Writes a folder for each speaker, with hard links to one file.

    Each speaker has a file of its own, because file systems limit the links to a file.
    """
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    for number in range(num_files):
        folder = corpus / f"speaker{number // _FILES_PER_SPEAKER:05d}"
        path = folder / f"{number:08d}.flac"
        if number % _FILES_PER_SPEAKER == 0:
            folder.mkdir(parents=True)
            soundfile.write(path, noise, 16_000)
            first = path
        else:
            os.link(first, path)


def main() -> None:
    num_files = int(sys.argv[1]) if sys.argv[1:] else 50_000
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name, "speech")
        write_corpus(corpus, num_files)
        command = [sys.executable, "-m", "beam_jobs.build_mixtures", "--dry_run"]
        command += [f"--corpus={corpus}", f"--output={name}/out", f"--catalogue={name}/kept"]
        elapsed_s = []
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            elapsed_s.append(time.perf_counter() - start)
    first_s, second_s = elapsed_s
    print(f"{num_files} files: {first_s:.1f} s, {num_files / first_s:.0f} files a second")
    print(f"a second job over them: {second_s:.1f} s")


if __name__ == "__main__":
    main()

"""Measures exported mixtures per second, by layout and format, and built mixtures for comparison.

python -m bench.export [--mixtures N]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16_000
DURATION_S = 10.0


def write_corpus(folder: Path, num_utterances: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(num_utterances):
        path = folder / f"speaker{number % 20}" / f"{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Brown noise is closer to speech than white noise: FLAC compresses it about as much.
        samples = generator.normal(0, 1, round(DURATION_S * SAMPLE_RATE)).cumsum()
        soundfile.write(path, 0.3 * samples / np.abs(samples).max(), SAMPLE_RATE)


def seconds(*command: object) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixtures", type=int, default=400)
    count = parser.parse_args().mixtures
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder / "corpus", 200)
        dataset = folder / "dataset"
        arguments = [f"--corpus={folder / 'corpus'}", f"--output={dataset}"]
        building_s = seconds("beam_jobs.build_mixtures", *arguments, f"--num_mixtures={count}")
        print(f"{'start-up included':20} mixtures a second")
        print(f"{'build_mixtures':20} {count / building_s:17.1f}")
        for layout, audio_format in (("spleeter", "wav"), ("librimix", "wav"), ("folders", "flac")):
            arguments = [f"--dataset={dataset}", f"--output={folder / layout}"]
            arguments += [f"--layout={layout}", f"--audio_format={audio_format}"]
            elapsed_s = seconds("beam_jobs.export_audio", *arguments)
            print(f"{layout + ', ' + audio_format:20} {count / elapsed_s:17.1f}")


if __name__ == "__main__":
    main()

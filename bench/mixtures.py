"""Measures how fast mixtures are built, beside a bare loop over the same recipes, in one run.

python -m bench.mixtures [CORPUS]   (without one: generated noise with the envelope of speech)

A job is timed from its catalogue to its last shard, by their modification times. Start-up and
report are included in the time of the whole command for a few mixtures. The bare loop decodes an
utterance again for each of its uses.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
import soundfile
import soxr

RATES = 16000, 8000
# How often an utterance is used, and how many of each speaker there are: all jobs last for seconds.
NUM_UTTERANCES = {1: 45, 8: 15}
NUM_FEW, NUM_ROUNDS = 8, 3


def make_corpus(folder: Path, num_utterances: int) -> None:
    rng = np.random.default_rng(0)
    for speaker in range(40):
        (folder / f"speaker{speaker:02d}").mkdir(parents=True)
        for number in range(num_utterances):
            num_samples = int(rng.uniform(10, 16) * 16000)
            envelope = np.repeat(rng.random(num_samples // 1600 + 1), 1600)[:num_samples]
            noise = np.cumsum(rng.standard_normal(num_samples)) % 1 - 0.5
            path = folder / f"speaker{speaker:02d}" / f"{number:02d}.flac"
            soundfile.write(path, 0.3 * envelope * noise, 16000)


def bare_loop(recipe_paths: list[Path], root: Path, output: Path) -> float:
    """Decodes, resamples, places, scales and writes mixtures; returns the seconds."""
    started = time.perf_counter()

    def masked_crc(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")

    with output.open("wb") as file:
        for line in (line for path in recipe_paths for line in path.open()):
            recipe = json.loads(line)
            num_samples = round(recipe["duration_s"] * recipe["sample_rate"])
            sources = np.zeros((len(recipe["sources"]), num_samples), np.float32)
            for row, source in zip(sources, recipe["sources"], strict=True):
                samples, file_rate = soundfile.read(root / source["path"], dtype="float32")
                rate = recipe["sample_rate"]
                if rate != file_rate:
                    samples = soxr.resample(samples, file_rate, rate)
                start = round(source["offset_s"] * rate)
                placed = samples[: num_samples - start]
                row[start : start + len(placed)] = placed
            peak = np.abs(sources.sum(axis=0)).max()
            pcm = np.rint(sources * (32767 * min(1, 0.99 / peak))).astype(np.int16)
            data = pcm.sum(axis=0, dtype=np.int16).tobytes() + pcm.tobytes()
            length = len(data).to_bytes(8, "little")
            file.write(length + masked_crc(length) + data + masked_crc(data))
    return time.perf_counter() - started


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True).stdout


def run_job(root: Path, dataset: Path, num_mixtures: int, num_workers: int, *options: str) -> float:
    """Builds a dataset; returns mixtures per second from the catalogue to the last shard."""
    run(
        *("-m", "beam_jobs.build_mixtures", f"--corpus={root}", f"--output={dataset}"),
        *("--overwrite", "--splits=train=1", "--num_shards=16", f"--num_mixtures={num_mixtures}"),
        *(f"--direct_num_workers={num_workers}", *options),
    )
    last = max(path.stat().st_mtime for path in dataset.glob("*.tfrecord-*"))
    return num_mixtures / (last - (dataset / "catalogue.arrow").stat().st_mtime)


def count_utterances(dataset: Path) -> int:
    with (dataset / "catalogue.arrow").open("rb") as file:
        return pa.ipc.open_file(file).read_all().num_rows


def compare(root: Path, work: Path, num_mixtures: int, options: list[str]) -> None:
    """Prints how fast mixtures are built, and how fast a bare loop makes the same ones."""
    # Which are the default from a thousand mixtures on.
    processes = [*options, "--direct_running_mode=multi_processing"]
    run_job(root, work / "dataset", num_mixtures, 2, *processes)
    recipes = (work / "dataset/recipes").rename(work / "recipes")
    rates: dict[str, list[float]] = {"bare loop": [], "1 worker": [], "2 workers": []}
    for _ in range(NUM_ROUNDS):
        elapsed_s = float(run(__file__, "--bare", str(recipes), str(root), str(work / "bare")))
        rates["bare loop"].append(num_mixtures / elapsed_s)
        rates["1 worker"].append(run_job(root, work / "dataset", num_mixtures, 1, *options))
        rates["2 workers"].append(run_job(root, work / "dataset", num_mixtures, 2, *processes))
    shutil.rmtree(recipes)
    median = {kind: statistics.median(values) for kind, values in rates.items()}
    for kind, values in rates.items():
        print(f"{kind:10} {median[kind]:7.1f} mixtures/s  of {[round(one, 1) for one in values]}")
    print(f"one worker / bare loop  {median['1 worker'] / median['bare loop']:.2f}")
    print(f"two workers / one       {median['2 workers'] / median['1 worker']:.2f}", flush=True)


def main() -> None:
    options = [argument for argument in sys.argv[1:] if argument.startswith("--")]
    corpora = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        start_ups = []
        for uses, num_utterances in NUM_UTTERANCES.items():
            root = Path(corpora[0]) if corpora else work / f"corpus{uses}"
            if not corpora:
                make_corpus(root, num_utterances)
            for _ in range(NUM_ROUNDS):
                start = time.perf_counter()
                run_job(root, work / "dataset", NUM_FEW, 2, *options)
                start_ups.append(time.perf_counter() - start)
            num_pairs = count_utterances(work / "dataset") // 2
            for rate in RATES:
                print(f"\n{rate} Hz, each utterance used {uses} times")
                compare(root, work, uses * num_pairs, [f"--sample_rate={rate}", *options])
        print(f"\nwhole command, {NUM_FEW} mixtures, with the report: {min(start_ups):.1f} s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        recipes, root, output = map(Path, sys.argv[2:])
        print(bare_loop(sorted(recipes.iterdir()), root, output))
    else:
        main()

"""Measures how fast the rows of LibriMix's metadata are rendered, beside LibriMix's own arithmetic.

python -m bench.librimix [ROWS]   (default: 600, of two speakers and noise, 8 kHz, min)

Each is timed from start to end, on all cores. LibriMix's script is told by what it does: a pool of
processes reads a row's files, scales them, extends the noise, resamples by SciPy's `resample_poly`,
cuts to the shortest, and writes five WAVs. The corpus is generated: noise with the envelope of
speech, as long as the utterances of LibriSpeech's test-clean.

Source: https://github.com/JorisCos/LibriMix (Cosentino et al., 2020), README.
"""

import csv
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

FILE_RATE, RATE = 16_000, 8_000
NUM_ROWS, NUM_ROUNDS = 600, 3
NUM_SPEAKERS, NUM_NOISES = 40, 40
COLUMNS = [
    "mixture_ID",
    *(f"source_{number}_{what}" for number in (1, 2) for what in ("path", "gain")),
    *("noise_path", "noise_gain"),
]
PARTS = ("s1", "s2", "noise", "mix_clean", "mix_both")


def write_sound(path: Path, rng: np.random.Generator, duration_s: float, channels: int) -> None:
    """Writes brown noise, of which FLAC makes about as little as of speech."""
    num_samples = int(duration_s * FILE_RATE)
    envelope = np.repeat(rng.random(num_samples // 1600 + 1), 1600)[:num_samples]
    noise = np.cumsum(rng.standard_normal(num_samples)) % 1 - 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.stack([0.3 * envelope * noise] * channels, axis=1)
    soundfile.write(path, sound, FILE_RATE)


def write_corpora(work: Path, num_rows: int) -> None:
    """Writes speech, noise, and a row of metadata for each mixture."""
    rng = np.random.default_rng(0)
    paths: list[list[str]] = []
    for speaker in range(NUM_SPEAKERS):
        paths.append([])
        for number in range(max(2 * num_rows * 3 // 4 // NUM_SPEAKERS, 1)):
            paths[-1].append(f"test-clean/{speaker}/1/{speaker}-1-{number:04d}.flac")
            write_sound(work / "LibriSpeech" / paths[-1][-1], rng, rng.uniform(3, 12), 1)
    noises = [f"tt/{number}.wav" for number in range(NUM_NOISES)]
    for path in noises:
        write_sound(work / "noise" / path, rng, rng.uniform(4, 16), 2)
    with (work / "libri2mix_test-clean.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number in range(num_rows):
            first, second = (
                str(rng.choice(paths[speaker]))
                for speaker in rng.choice(NUM_SPEAKERS, 2, replace=False)
            )
            gains = rng.uniform(0.3, 0.9, 3)
            row = [f"{number:04d}", first, gains[0], second, gains[1], rng.choice(noises), gains[2]]
            table.writerow(row)


def extend(noise: np.ndarray, num_samples: int) -> np.ndarray:
    """Repeats a noise, each repetition fading into the next over half a second."""
    fade = np.hanning(FILE_RATE + 1)[: FILE_RATE // 2 + 1]
    period = noise
    while len(noise) < num_samples:
        joint = noise[-len(fade) :] * fade[::-1] + period[: len(fade)] * fade
        noise = np.concatenate([noise[: -len(fade)], joint, period[len(fade) :]])
    return noise[:num_samples].astype(np.float32)


def write_mixture(row: dict[str, str], work: Path, output: Path) -> None:
    """Does what LibriMix's script does for a row of its metadata."""
    sources = [
        soundfile.read(work / "LibriSpeech" / row[f"source_{number}_path"], dtype="float32")[0]
        * np.float32(row[f"source_{number}_gain"])
        for number in (1, 2)
    ]
    longest = max(map(len, sources))
    noise, _ = soundfile.read(work / "noise" / row["noise_path"], dtype="float32", stop=longest)
    noise = extend(noise[:, 0], longest) * np.float32(row["noise_gain"])
    parts = [resample_poly(part, RATE, FILE_RATE) for part in (*sources, noise)]
    shortest = min(map(len, parts))
    first, second, noise = (part[:shortest] for part in parts)
    sounds = (first, second, noise, first + second, first + second + noise)
    for part, sound in zip(PARTS, sounds, strict=True):
        soundfile.write(output / part / f"{row['mixture_ID']}.wav", sound, RATE)


def peer(work: Path, output: Path) -> None:
    """Writes all mixtures, in as many processes as there are cores."""
    for part in PARTS:
        (output / part).mkdir(parents=True, exist_ok=True)
    with (work / "libri2mix_test-clean.csv").open() as file:
        tasks = [(row, work, output) for row in csv.DictReader(file)]
    with multiprocessing.Pool(os.cpu_count()) as pool:
        pool.starmap(write_mixture, tasks, chunksize=1)


def seconds(*command: object) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, capture_output=True)
    return time.perf_counter() - start


def count_equal(dataset: Path, output: Path) -> int:
    """Returns how many mixtures are those of the peer to one step, with all of their parts."""
    # The peer, which runs this file as well, starts without Beam.
    from beam_jobs.dataset.reading import open_dataset, read_mixtures

    described = open_dataset(str(dataset))
    num_equal = 0
    for info in described.shards:
        for stored in read_mixtures(str(dataset), described, info):
            assert stored.noise is not None
            parts = (*stored.sources, stored.noise, stored.sources.sum(axis=0), stored.mixture)
            wavs = [
                soundfile.read(output / part / f"{stored.recipe.id}.wav", dtype="int16")[0]
                for part in PARTS
            ]
            num_equal += all(
                len(part) == len(wav) and np.abs(part[:, 0].astype(int) - wav).max() <= 1
                for part, wav in zip(parts, wavs, strict=True)
            )
    return num_equal


def main() -> None:
    num_rows = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_ROWS
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_corpora(work, num_rows)
        dataset, wavs = work / "dataset", work / "wavs"
        given = [f"--recipes={work / 'libri2mix_test-clean.csv'}", f"--noise={work / 'noise'}"]
        build = ["beam_jobs.build_mixtures", f"--corpus={work / 'LibriSpeech'}", *given]
        build += [f"--output={dataset}", f"--sample_rate={RATE}", "--length=min", "--overwrite"]
        export = ["beam_jobs.export_audio", f"--dataset={dataset}", "--layout=librimix"]
        times: dict[str, list[float]] = {"LibriMix": [], "build_mixtures": [], "export_audio": []}
        for number in range(NUM_ROUNDS):
            times["LibriMix"].append(seconds("bench.librimix", "--peer", work, wavs))
            times["build_mixtures"].append(seconds(*build))
            output = f"--output={work / f'exported{number}'}"
            times["export_audio"].append(seconds(*export, output))
        median = {name: statistics.median(elapsed) for name, elapsed in times.items()}
        for name, elapsed in times.items():
            print(f"{name:15} {median[name]:6.1f} s  of {[round(one, 1) for one in elapsed]}")
        built_s = median["build_mixtures"]
        print(f"LibriMix / build_mixtures                   {median['LibriMix'] / built_s:.2f}")
        both_s = built_s + median["export_audio"]
        print(f"LibriMix / build_mixtures and export_audio  {median['LibriMix'] / both_s:.2f}")
        print(f"equal to one step: {count_equal(dataset, wavs)} of {num_rows} mixtures")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(*map(Path, sys.argv[2:]))
    else:
        main()

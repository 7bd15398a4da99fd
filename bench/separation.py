"""Measures speed and memory of separating archives, beside stock Spleeter, in one run.

python -m bench.separation [short] [long] [hours] [workers]     (about ten minutes for all of them)

Both have the same U-Nets of 2stems, with random weights: speed does not depend on their values.
Stock Spleeter is `spleeter separate` as installed, which reads and writes through ffmpeg and takes
13.5 GB for ten minutes. Bytecode is cached in a folder of this run, as it is once installed.
"""

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 44100

MAKE_WEIGHTS = """
import sys
import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder, InputProviderFactory
from spleeter.utils.configuration import load_configuration
configuration = load_configuration("spleeter:2stems")
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    tf.compat.v1.train.create_global_step()
    features = InputProviderFactory.get(configuration).get_input_dict_placeholders()
    EstimatorSpecBuilder(features, configuration).outputs
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver().save(session, sys.argv[1] + "/model")
"""

BARE = """
import sys, time
import numpy as np
from beam_jobs.separation.models import describe_model
from beam_jobs.separation.separator import load_separator
model = describe_model("spleeter:2stems")
separator = load_separator(model)
magnitudes = np.abs(np.random.default_rng(0).standard_normal((1, 512, 1024, 2))).astype("f")
session = separator._session
def run(count):
    for _ in range(count):
        session.run(separator._masks, {separator._magnitudes: magnitudes})
run(4)
started = time.perf_counter()
run(24)
print(24 * model.framing.hop / model.sample_rate / (time.perf_counter() - started))
"""


def make_noise(path: Path, duration_s: int) -> None:
    rng = np.random.default_rng(0)
    second = rng.standard_normal((SAMPLE_RATE, 2)) * 0.1
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2) as file:
        for _ in range(duration_s):
            file.write(np.roll(second, rng.integers(SAMPLE_RATE), axis=0))


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a command: wall-clock time, processor time, and peak of the resident memory."""

    wall_s: float
    cpu_s: float
    memory_gb: float

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} s ({self.cpu_s:.0f} s of CPU), {self.memory_gb:.2f} GB"


def measure(command: list[str]) -> Cost:
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            errors.seek(0)
            sys.exit(errors.read().decode())
    wall_s = time.perf_counter() - started
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def archive_command(pattern: Path, output: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "beam_jobs.separate_archive", f"--input={pattern}"),
        *("--model=spleeter:2stems", f"--output={output}", *options),
    ]


def stock_command(output: Path, paths: list[Path]) -> list[str]:
    return [
        *(sys.executable, "-m", "spleeter", "separate", "-p", "spleeter:2stems"),
        *("-o", str(output), *map(str, paths)),
    ]


def compare_short(root: Path) -> None:
    paths = [root / f"{number:02d}.wav" for number in range(20)]
    for path in paths:
        make_noise(path, 7)
    here = measure(archive_command(root / "*.wav", root / "here"))
    stock = measure(stock_command(root / "stock", paths))
    print(f"20 files of 7 s: stock {stock}; here {here}")
    print(f"  {stock.wall_s / here.wall_s:.1f} times as fast; asked for: 5, better 7")


def compare_long(root: Path) -> None:
    here = separate_one(root, 600)
    if available_gb() < 15:
        print("  stock needs 13.5 GB: too much here")
        return
    stock = measure(stock_command(root / "stock", [root / "long.wav"]))
    print(f"  stock {stock}: {stock.wall_s / here.wall_s:.1f} times as fast; asked for: 4")


def measure_hours(root: Path) -> None:
    separate_one(root, 3 * 3600)
    print("  asked for: 1.5 GB, and 80 % for the bare session")


def separate_one(root: Path, duration_s: int) -> Cost:
    make_noise(root / "long.wav", duration_s)
    here = measure(archive_command(root / "*.wav", root / "here"))
    print(
        f"{duration_s / 60:g} minutes: here {here}, {duration_s / here.wall_s:.0f} times real time"
    )
    bare = subprocess.run([sys.executable, "-c", BARE], check=True, capture_output=True, text=True)
    bare_s = duration_s / float(bare.stdout)
    print(f"  the bare session takes {bare_s:.1f} s, {bare_s / here.wall_s:.0%} of the whole")
    return here


def compare_workers(root: Path) -> None:
    for number in range(16):
        make_noise(root / f"{number:02d}.wav", 240)
    one, two = (
        measure(
            archive_command(
                root / "*.wav",
                root / f"workers{number}",
                "--model_threads=1",
                "--direct_running_mode=multi_processing",
                f"--direct_num_workers={number}",
            )
        )
        for number in (1, 2)
    )
    default = measure(archive_command(root / "*.wav", root / "default"))
    print(f"16 files of 4 minutes, workers of one thread: one {one}; two {two}")
    print(f"  two are {one.wall_s / two.wall_s:.2f} times as fast as one; asked for: 1.6")
    print(f"  one process whose model computes on all cores, as by default: {default}")


PARTS = {
    "short": compare_short,
    "long": compare_long,
    "hours": measure_hours,
    "workers": compare_workers,
}


def available_gb() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the separation of archives.")
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    names = parser.parse_args().part or list(PARTS)
    if not shutil.which("ffmpeg"):
        parser.error("no ffmpeg: without it, stock Spleeter ends at once, as if it were done")
    if not set(names) <= set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["PYTHONPYCACHEPREFIX"] = str(root / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        os.environ["MODEL_PATH"] = str(root / "models")
        weights = root / "models/2stems"
        for path in (weights, root / "warm"):
            path.mkdir(parents=True)
        measure([sys.executable, "-c", MAKE_WEIGHTS, str(weights)])
        (weights / ".probe").write_text("OK")
        # One run of each, to compile the bytecode.
        make_noise(root / "warm/short.wav", 7)
        measure(archive_command(root / "warm/*.wav", root / "warm/here"))
        measure(stock_command(root / "warm/stock", [root / "warm/short.wav"]))
        for name in names:
            (root / name).mkdir()
            PARTS[name](root / name)
            shutil.rmtree(root / name)


if __name__ == "__main__":
    main()

"""How fast archives are separated, and in how much memory, beside stock Spleeter, in one run.

python bench/separation.py [--without_3_hours] [--without_stock_10_minutes]

Both have the same U-Nets of 2stems, with random weights: their values cost nothing. Stock Spleeter
reads and writes through SoundFile, which spares it two ffmpeg processes for each file. Stock takes
13.5 GB for ten minutes. Compiled modules go to a folder of this run, as they would be installed.
"""

import json
import os
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

STOCK = """
import sys
import soundfile
from spleeter.audio.adapter import AudioAdapter
from spleeter.separator import Separator

class SoundFileAdapter(AudioAdapter):
    def load(self, path, offset=None, duration=None, sample_rate=None, dtype="float32"):
        return soundfile.read(path, dtype="float32", always_2d=True)

    def save(self, path, data, sample_rate, codec=None, bitrate=None):
        soundfile.write(path, data, sample_rate, "PCM_16")

if __name__ == "__main__":
    separator = Separator("spleeter:2stems")
    for path in sys.argv[2:]:
        separator.separate_to_file(path, sys.argv[1], SoundFileAdapter(), synchronous=False)
    separator.join()
"""

BARE = """
import sys, time
import numpy as np
from beam_jobs.separation.models import describe_model
from beam_jobs.separation.separators import load_separator
model = describe_model("spleeter:2stems")
separator = load_separator(model)
windows = np.random.default_rng(0).standard_normal((2, model.framing.length, 2)).astype("f") * 0.1
magnitudes = np.abs(np.random.default_rng(0).standard_normal((2, 512, 1024, 2))).astype("f")
def networks():
    separator._session.run(separator._masks, {separator._magnitudes: magnitudes})

for name, run in ("model", lambda: separator.separate(windows)), ("networks", networks):
    run()
    run()
    started = time.perf_counter()
    for _ in range(5):
        run()
    each_s = (time.perf_counter() - started) / 10
    print(name, model.framing.hop / model.sample_rate / each_s)
"""


def make_noise(path: Path, duration_s: int) -> None:
    rng = np.random.default_rng(0)
    second = rng.standard_normal((SAMPLE_RATE, 2)) * 0.1
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2) as file:
        for _ in range(duration_s):
            file.write(np.roll(second, rng.integers(SAMPLE_RATE), axis=0))


def measure(command: list[str]) -> tuple[float, float]:
    """Wall-clock in seconds, and the peak of the resident memory in GB."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            errors.seek(0)
            sys.exit(errors.read().decode())
    return time.perf_counter() - started, usage.ru_maxrss / 1e6


def archive_command(pattern: Path, output: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "beam_jobs.separate_archive", f"--input={pattern}"),
        *("--model=spleeter:2stems", f"--output={output}", *options),
    ]


def stock_command(output: Path, paths: list[Path]) -> list[str]:
    return [sys.executable, "-c", STOCK, str(output), *map(str, paths)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["PYTHONPYCACHEPREFIX"] = str(root / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["MODEL_PATH"] = str(root / "models")
        weights = root / "models/2stems"
        for path in (weights, root / "short", root / "10min", root / "3h"):
            path.mkdir(parents=True)
        subprocess.run([sys.executable, "-c", MAKE_WEIGHTS, weights], check=True)
        (weights / ".probe").write_text("OK")
        short = [root / f"short/{number:02d}.wav" for number in range(20)]
        for path in short:
            make_noise(path, 7)
        make_noise(root / "10min/long.wav", 600)
        # Once for the bytecode of both.
        measure(archive_command(short[0], root / "warm"))
        measure(stock_command(root / "warm", short[:1]))

        ours_s, ours_gb = measure(archive_command(root / "short/*.wav", root / "a"))
        stock_s, stock_gb = measure(stock_command(root / "b", short))
        print(
            f"20 files of 7 s: stock {stock_s:.1f} s, {stock_gb:.2f} GB; here {ours_s:.1f} s,",
            end="",
        )
        print(f" {ours_gb:.2f} GB: {stock_s / ours_s:.1f} times as fast")

        pattern = root / "10min/*.wav"
        ours_s, ours_gb = measure(archive_command(pattern, root / "c"))
        share = json.loads((root / "c/summary.json").read_text())["model_share"]
        print(f"10 minutes: here {ours_s:.1f} s, {ours_gb:.2f} GB")
        if "--without_stock_10_minutes" not in sys.argv:
            stock_s, stock_gb = measure(stock_command(root / "d", [root / "10min/long.wav"]))
            print(f"10 minutes: stock {stock_s:.1f} s, {stock_gb:.2f} GB: {stock_s / ours_s:.1f}x")
        print(f"the model computes {share:.0%} of the time from the first sample to the last")
        bare = subprocess.run(
            [sys.executable, "-c", BARE], check=True, capture_output=True, text=True
        )
        print(f"bare, in seconds of audio a second:\n{bare.stdout}", end="")

        one, two = (
            measure(
                archive_command(
                    root / "short/*.wav",
                    root / f"workers{number}",
                    "--model_threads=1",
                    "--direct_running_mode=multi_processing",
                    f"--direct_num_workers={number}",
                )
            )[0]
            for number in (1, 2)
        )
        print(f"20 files of 7 s, workers of one thread: one {one:.1f} s, two {two:.1f} s")

        if "--without_3_hours" not in sys.argv:
            make_noise(root / "3h/long.wav", 3 * 3600)
            ours_s, ours_gb = measure(archive_command(root / "3h/*.wav", root / "e"))
            print(
                f"3 hours: here {ours_s:.0f} s, {ours_gb:.2f} GB: {10800 / ours_s:.0f}x real time"
            )


if __name__ == "__main__":
    main()

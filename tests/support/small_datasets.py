"""Small corpora, and running the command that builds datasets from them."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from beam_jobs.build_mixtures import main
from schemas.recipe import parse_recipe
from schemas.tfrecord import decode_example, read_records

REPOSITORY = Path(__file__).parents[2]
SAMPLE_RATE = 8000

# Utterances of a second need smaller offsets than those of the presets.
RECIPE = {
    "version": 1,
    "description": "Two speakers, one a little after the other.",
    "num_speakers": 2,
    "offset_s": {"uniform": [0.05, 0.25]},
    "level": {"gain_db": {"uniform": [-5, 5]}},
    "sample_rate": SAMPLE_RATE,
}


def voice(pitch_hz, duration_s, sample_rate=SAMPLE_RATE, level=0.1):
    """Returns the harmonics of a pitch, never silent, float32 [samples]."""
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    wave = sum(np.sin(2 * np.pi * pitch_hz * k * time_s + k) / k for k in range(1, 6))
    return (level * wave).astype(np.float32)


def write_corpus(folder, *, num_speakers=8, num_utterances=3, suffix=".flac"):
    """Writes a folder for each speaker, with utterances that all differ."""
    for speaker in range(num_speakers):
        (folder / f"speaker{speaker}").mkdir(parents=True)
        for number in range(num_utterances):
            path = folder / f"speaker{speaker}" / f"{number}{suffix}"
            sound = voice(90 + 17 * speaker + number, 0.3 + 0.04 * speaker + 0.1 * number)
            soundfile.write(path, sound, SAMPLE_RATE)
    return folder


def write_recipe(path, **changes):
    """Writes a recipe configuration, with changes to `RECIPE`."""
    path.write_text(json.dumps(RECIPE | changes), "utf-8")
    return path


@dataclasses.dataclass(frozen=True)
class Built:
    """The outcome of a job.

    Attributes:
        status: its exit status.
        printed: its standard output.
        complaints: its standard error.
        folder: its output.
    """

    status: int
    printed: str
    complaints: str
    folder: Path

    @property
    def last_line(self):
        return (self.printed or self.complaints).splitlines()[-1]

    @property
    def digests(self):
        return shard_digests(self.folder)

    @property
    def rejected(self):
        """The reason for each rejected file, by its path."""
        lines = (self.folder / "rejected.jsonl").read_text("utf-8").split("\n")
        return {line["path"]: line["reason"] for line in map(json.loads, filter(None, lines))}

    @property
    def quality(self):
        return json.loads((self.folder / "quality.json").read_text("utf-8"))

    @property
    def num_mixtures(self):
        return sum(split["num_mixtures"] for split in self.quality["splits"].values())

    def recipes(self, split="*"):
        """Returns the recipes of a split, in order."""
        return [
            parse_recipe(line, str(path))
            for path in sorted((self.folder / "recipes").glob(f"{split}-*.jsonl"))
            for line in path.read_bytes().splitlines()
        ]

    def examples(self, split="*"):
        """Returns the features of each mixture of a split, in order."""
        examples = []
        for path in sorted(self.folder.glob(f"*-{split}.tfrecord-*")):
            with path.open("rb") as file:
                examples += [decode_example(record) for record in read_records(file)]
        return examples


def build(*arguments, corpus, output):
    """Runs the job in this process."""
    # Workers that are processes take seconds to start.
    arguments = ("--direct_running_mode=multi_threading", *arguments)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(command_line(*arguments, corpus=corpus, output=output))
    return Built(status, out.getvalue(), err.getvalue(), Path(output))


def build_elsewhere(*arguments, corpus, output, **popen):
    """Runs the job in a process of its own, as a user does."""
    argv = command_line(*arguments, corpus=corpus, output=output)
    with start(*argv, **popen) as process:
        out, err = process.communicate()
    return Built(process.returncode, out, err, Path(output))


def start(*argv, **popen):
    """Starts the job's command, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "beam_jobs.build_mixtures", *argv],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | popen,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )


def kill_when(process, ready):
    """Kills a job with all its processes as soon as `ready` returns true."""
    while not ready() and process.poll() is None:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def command_line(*arguments, corpus, output):
    """Returns the arguments of a job."""
    return [f"--corpus={corpus}", f"--output={output}", *map(str, arguments)]


def shard_digests(folder):
    """Returns the SHA-256 of each shard, by the end of its name."""
    return {
        path.name[path.name.index(".tfrecord-") - 5 :]: hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.glob("*.tfrecord-*"))
    }


def leftovers(folder):
    """Returns the files in a dataset's folder that only a running job needs."""
    return [
        path
        for path in folder.rglob("*")
        if ".incomplete-" in path.name or path.parent.name == "progress"
    ]

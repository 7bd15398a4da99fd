"""Counts of what the workers of a job have found and done, for the launcher to show.

Each worker keeps its counts in a file, so that they look the same with every runner, and in Beam's
counters, which the runner's own pages show.
"""

import contextlib
import dataclasses
import json
import os
import time
import uuid

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import TaggedOutput

from beam_jobs.runtime.dead_letters import REJECTED, ReasonCounts, Rejected
from beam_jobs.storage import files

_PREFIX = "counts-"

# The names of Beam's counters.
_COUNTERS = ("found", "looked_at", "skipped", "done", "seconds_of_audio_done", "rejected")

# Often enough to be looked at, and nothing beside a worker's other work.
_INTERVAL_S = 2.0
# Storage charges for every write, and a thousand workers write.
_REMOTE_INTERVAL_S = 10.0


@dataclasses.dataclass(slots=True)
class WorkCounts:
    """Counts of what was found and done so far.

    Attributes:
        num_found: files and lines of manifests.
        num_looked: the files whose headers were read.
        num_skipped: what an earlier run of the job has done.
        num_done: what is finished or rejected, in the unit of the job, such as mixtures.
        found_s: the length of the audio that there is to work on, in seconds.
        done_s: the length of the audio that is finished, in seconds.
        rejected: what can't be used.
    """

    num_found: int = 0
    num_looked: int = 0
    num_skipped: int = 0
    num_done: int = 0
    found_s: float = 0.0
    done_s: float = 0.0
    rejected: ReasonCounts = dataclasses.field(default_factory=ReasonCounts)

    @property
    def num_rejected(self) -> int:
        """The number of things that can't be used."""
        return self.rejected.counts.total()


class WorkRecorder:
    """A worker's counts, which it writes down every few seconds. It belongs to one thread."""

    def __init__(self, folder: str) -> None:
        """Starts to count.

        Args:
            folder: where the counts of all workers are.
        """
        self._path = files.join(folder, f"{_PREFIX}{uuid.uuid4().hex}.json")
        self._counts = WorkCounts()
        self._counters = {name: Metrics.counter("progress", name) for name in _COUNTERS}
        self._written_s = time.monotonic()
        self._interval_s = _REMOTE_INTERVAL_S if files.is_remote(folder) else _INTERVAL_S

    def add(
        self,
        *,
        found: int = 0,
        looked: int = 0,
        skipped: int = 0,
        done: int = 0,
        found_s: float = 0.0,
        done_s: float = 0.0,
        rejected: Rejected | None = None,
    ) -> None:
        """Adds to the counts, which `WorkCounts` describes."""
        counts = self._counts
        before_s = int(counts.done_s)
        counts.num_found += found
        counts.num_looked += looked
        counts.num_skipped += skipped
        counts.num_done += done
        counts.found_s += found_s
        counts.done_s += done_s
        if rejected is not None:
            counts.rejected.add(rejected)
        numbers = {
            "found": found,
            "looked_at": looked,
            "skipped": skipped,
            "done": done,
            "seconds_of_audio_done": int(counts.done_s) - before_s,
            "rejected": int(rejected is not None),
        }
        for name, number in numbers.items():
            if number:
                self._counters[name].inc(number)
        now_s = time.monotonic()
        if now_s - self._written_s >= self._interval_s:
            self._written_s = now_s
            self.write()

    def write(self) -> None:
        """Writes the counts down, at the end of a bundle of work, too."""
        counts = self._counts
        document = {
            field.name: getattr(counts, field.name)
            for field in dataclasses.fields(counts)
            if field.name != "rejected"
        }
        document["rejected"] = [
            {"path": example.path, "reason": example.reason, "times": counts.rejected.counts[kind]}
            for kind, example in counts.rejected.examples.items()
        ]
        # No job fails because nobody can see how far it is.
        with contextlib.suppress(OSError):
            files.write_text(self._path, json.dumps(document))


class CountingDoFn(beam.DoFn):
    """A DoFn that keeps count of its work in `recorder`."""

    def __init__(self, counts_folder: str) -> None:
        """Takes the folder of the counts."""
        self._counts_folder = counts_folder

    def setup(self) -> None:
        """Starts to count."""
        self.recorder = WorkRecorder(self._counts_folder)

    def reject(self, path: str, error: Exception) -> TaggedOutput[str, Rejected]:
        """Counts a file as rejected because of an exception, and so as done.

        Returns:
            Its dead letter for the output `REJECTED`.
        """
        rejected = Rejected.from_error(path, error)
        self.recorder.add(done=1, rejected=rejected)
        return TaggedOutput(REJECTED, rejected)

    def finish_bundle(self) -> None:
        """Writes the counts down, which may be the last."""
        self.recorder.write()


def read_counts(folder: str) -> WorkCounts | None:
    """Adds up the counts that workers have written down; None if none of them has yet."""
    paths = files.list_paths(folder, f"{_PREFIX}*.json")
    if not paths:
        return None
    total = WorkCounts()
    for path in paths:
        document = json.loads(files.read_text(path))
        for one in document.pop("rejected"):
            total.rejected.add(Rejected(one["path"], one["reason"]), one["times"])
        for name, number in document.items():
            setattr(total, name, getattr(total, name) + number)
    return total


def forget_counts(folder: str) -> None:
    """Removes the counts of a run that is over, and the folder if nothing else is in it."""
    parent, name = os.path.split(folder)
    with contextlib.suppress(OSError):
        files.remove(parent, f"{name}/{_PREFIX}*.json")

"""Counts of the files that workers have found and looked at, for the launcher to show.

Each worker keeps its counts in a file, so that they look the same with every runner.
"""

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator

from beam_jobs.corpora.layout import Found
from beam_jobs.runtime.dead_letters import ReasonCounts, Rejected
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files

SEARCHED = f"{PROGRESS}/files-*.json"
"""The files with the counts, in the folder of a job."""

# Often enough to be looked at, and nothing beside a worker's other work.
_INTERVAL_S = 2.0


@dataclasses.dataclass(slots=True)
class SearchCounts:
    """Counts of the files that were found and looked at so far.

    Attributes:
        num_found: files and lines of manifests.
        num_looked: the files whose headers were read.
        rejected: of those that were looked at, the ones that can't be used.
    """

    num_found: int = 0
    num_looked: int = 0
    rejected: ReasonCounts = dataclasses.field(default_factory=ReasonCounts)


class SearchRecorder:
    """A worker's counts, which it writes down every few seconds."""

    def __init__(self, folder: str) -> None:
        """Starts to count for a job.

        Args:
            folder: of the job.
        """
        self._path = files.join(folder, PROGRESS, f"files-{uuid.uuid4().hex}.json")
        self._counts = SearchCounts()
        self._written_s = time.monotonic()

    def count_found(self, found: Iterator[Found]) -> Iterator[Found]:
        """Yields what is found, and counts it."""
        for one in found:
            self._counts.num_found += 1
            self._write_at_times()
            yield one
        self._write()

    def count_looked(self, rejected: Rejected | None) -> None:
        """Counts a file that was looked at, with its rejection if it can't be used."""
        self._counts.num_looked += 1
        if rejected is not None:
            self._counts.rejected.add(rejected)
        self._write_at_times()

    def _write_at_times(self) -> None:
        now_s = time.monotonic()
        if now_s - self._written_s >= _INTERVAL_S:
            self._written_s = now_s
            self._write()

    def _write(self) -> None:
        counts = self._counts
        document = {
            "num_found": counts.num_found,
            "num_looked": counts.num_looked,
            "rejected": [
                {
                    "path": example.path,
                    "reason": example.reason,
                    "times": counts.rejected.counts[kind],
                }
                for kind, example in counts.rejected.examples.items()
            ],
        }
        files.write_text(self._path, json.dumps(document))


def read_search_counts(folder: str) -> SearchCounts:
    """Adds up the counts that the workers of a job have written down."""
    total = SearchCounts()
    for path in files.list_paths(folder, SEARCHED):
        document = json.loads(files.read_text(path))
        total.num_found += document["num_found"]
        total.num_looked += document["num_looked"]
        for one in document["rejected"]:
            total.rejected.add(Rejected(one["path"], one["reason"]), one["times"])
    return total

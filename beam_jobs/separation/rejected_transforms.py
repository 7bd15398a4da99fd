"""The transform that writes the dead letters of the archive job and of the scoring job."""

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList

from beam_jobs.runtime.dead_letters import Rejected, write_rejected
from beam_jobs.storage import files
from schemas.ledger import REJECTED


class WriteRejected(beam.PTransform[PCollection[Rejected], PCollection[int]]):
    """Writes `rejected.jsonl`, sorted by path, even if nothing was rejected.

    Input: `Rejected`. Output: the number of them.
    """

    def __init__(self, folder: str) -> None:
        self._path = files.join(folder, REJECTED)

    def expand(self, rejected: PCollection[Rejected]) -> PCollection[int]:
        """Collects the dead letters, writes and counts them."""
        count: PCollection[int] = rejected | ToList() | beam.Map(self._write)
        return count

    def _write(self, rejected: list[Rejected]) -> int:
        write_rejected(self._path, sorted(rejected))
        return len(rejected)

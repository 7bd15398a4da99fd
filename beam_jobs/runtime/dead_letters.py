"""Dead letters: what could not be used, and why."""

import dataclasses
import json
from collections.abc import Iterable

from beam_jobs.storage import files


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """One line of `rejected.jsonl`.

    Attributes:
        path: the file, as the user knows it.
        reason: why it can't be used, and where there is one, the remedy.
        traceback: where in the program it came from; empty where that tells nothing.
    """

    path: str
    reason: str
    traceback: str = ""

    def to_json(self) -> str:
        """The line, without its end."""
        document = {"path": self.path, "reason": self.reason}
        if self.traceback:
            document["traceback"] = self.traceback
        return json.dumps(document, ensure_ascii=False)


def write_rejected(path: str, rejected: Iterable[Rejected]) -> None:
    """Writes `rejected.jsonl`."""
    with files.write_atomically(path) as file:
        for one in rejected:
            file.write(one.to_json().encode() + b"\n")


def read_rejected(path: str) -> list[Rejected]:
    """Reads `rejected.jsonl`; where there is none, nothing was rejected."""
    if not files.exists(path):
        return []
    return [Rejected(**json.loads(line)) for line in files.read_text(path).split("\n") if line]

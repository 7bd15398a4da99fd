"""Dead letters: files and recordings that could not be used, each with its reason."""

import dataclasses
import json
import traceback
from collections import Counter
from collections.abc import Iterable
from typing import Final

from beam_jobs.storage import files
from schemas.errors import describe_error

REJECTED: Final = "rejected"
"""The output of a transform that has the dead letters of what it rejects."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """A file that could not be used: one line of `rejected.jsonl`.

    Attributes:
        path: the file, as the user knows it.
        reason: why it can't be used, and where there is one, the remedy.
        traceback: of the exception; empty where it would add nothing to the reason.
    """

    path: str
    reason: str
    traceback: str = ""

    @classmethod
    def from_error(cls, path: str, error: Exception) -> "Rejected":
        """Returns the dead letter of a file that raised an exception, with its traceback.

        The reason is the first line of the message, or without one the name of the exception.
        """
        lines = describe_error(error).strip().splitlines()
        return cls(
            path=path,
            reason=lines[0] if lines else type(error).__name__,
            traceback="".join(traceback.format_exception(error)),
        )

    def to_json(self) -> str:
        """Returns the line, without its end."""
        document = {"path": self.path, "reason": self.reason}
        if self.traceback:
            document["traceback"] = self.traceback
        # A file name that is not UTF-8 has surrogates, which no file can hold. Messages have names.
        writable = {
            key: text.encode(errors="backslashreplace").decode() for key, text in document.items()
        }
        return json.dumps(writable, ensure_ascii=False)


class ReasonCounts:
    """Counts of the reasons for which files were rejected, and a file for each reason.

    Attributes:
        counts: by the reason, without what is particular to one file.
        examples: the first file that was rejected for each reason.
    """

    def __init__(self, rejected: Iterable[Rejected] = ()) -> None:
        """Counts the reasons of some files."""
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, Rejected] = {}
        for one in rejected:
            self.add(one)

    def add(self, one: Rejected, times: int = 1) -> None:
        """Counts the reason of a file, as often as files were rejected for it."""
        kind = one.reason.partition(":")[0]
        self.counts[kind] += times
        self.examples.setdefault(kind, one)

    def describe(self) -> str:
        """Returns the most frequent reason, with the file that was rejected for it first."""
        ((kind, count),) = self.counts.most_common(1)
        example = self.examples[kind]
        return f"{count:,} of {self.counts.total():,}: {example.reason}, such as {example.path}"


def write_rejected(path: str, rejected: Iterable[Rejected]) -> None:
    """Writes `rejected.jsonl`."""
    with files.write_atomically(path) as file:
        for one in rejected:
            file.write(one.to_json().encode() + b"\n")


def read_rejected(path: str) -> list[Rejected]:
    """Reads `rejected.jsonl`; without one, nothing was rejected."""
    if not files.exists(path):
        return []
    return [Rejected(**json.loads(line)) for line in files.read_text(path).split("\n") if line]

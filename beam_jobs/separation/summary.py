"""What a run did, in a few numbers."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

NUM_EXAMPLES = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """What became of some of the files.

    Attributes:
        separated: files that were separated in this run.
        skipped: files that the ledger had.
        rejected: files that could not be separated.
        separated_s: the length of those that were separated, in seconds.
        model_s: how long the model computed, in seconds, all workers together.
        busy_s: how long workers were busy separating, in seconds, all of them together.
        examples: the places in the tree of a few that were separated, chosen as if by chance.
    """

    separated: int = 0
    skipped: int = 0
    rejected: int = 0
    separated_s: float = 0.0
    model_s: float = 0.0
    busy_s: float = 0.0
    examples: tuple[str, ...] = ()

    def __add__(self, other: "Counts") -> "Counts":
        ours, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        total = Counts(*(a + b for a, b in zip(ours, theirs, strict=True)))
        examples = sorted(total.examples, key=_digest)[:NUM_EXAMPLES]
        return dataclasses.replace(total, examples=tuple(examples))

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(dataclasses.asdict(self))


def parse_counts(text: str) -> Counts:
    """Reads what `Counts.to_json` writes."""
    document = json.loads(text)
    return Counts(**document | {"examples": tuple(document["examples"])})


def summarise(counts: Counts, *, elapsed_s: float, price_per_hour: float) -> Mapping[str, Any]:
    """The content of `summary.json`.

    Args:
        counts: of all files.
        elapsed_s: how long the run took, start-up included.
        price_per_hour: what a busy worker costs an hour, in any currency; 0 where unknown.
    """
    return {
        "files": counts.separated + counts.skipped + counts.rejected,
        "separated": counts.separated,
        "skipped": counts.skipped,
        "rejected": counts.rejected,
        "separated_hours": round(counts.separated_s / 3600, 4),
        "elapsed_s": round(elapsed_s, 1),
        "speed": round(counts.separated_s / elapsed_s, 2),
        "busy_worker_hours": round(counts.busy_s / 3600, 4),
        "model_share": round(counts.model_s / counts.busy_s, 3) if counts.busy_s else None,
        "cost_estimate": round(counts.busy_s / 3600 * price_per_hour, 4) or None,
    }


def describe(summary: Mapping[str, Any]) -> str:
    """The summary in two lines for people."""
    cost = summary["cost_estimate"]
    return (
        f"{summary['files']} files: {summary['separated']} separated, {summary['skipped']} skipped "
        f"(done before), {summary['rejected']} rejected\n"
        f"{summary['separated_hours']:.2f} hours of audio in {summary['elapsed_s']:.0f} s, "
        f"{summary['speed']:.1f} times as fast as it plays"
        + (f", about {cost:.2f} in worker time" if cost else "")
    )


def _digest(path: str) -> bytes:
    return hashlib.sha256(path.encode(errors="surrogateescape")).digest()

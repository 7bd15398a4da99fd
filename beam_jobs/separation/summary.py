"""The numbers of a run: counts that add up, and the summary made of them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

NUM_EXAMPLES = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of files and the time that they took; two of these add up.

    Attributes:
        separated: files that were separated in this run.
        skipped: files that the ledger listed already.
        rejected: files that could not be separated.
        separated_s: the length of the separated files, in seconds.
        model_s: the time that the model took in all workers together, in seconds.
        busy_s: the time that all workers together spent on separating, in seconds.
        examples: the places in the tree of a few separated files, chosen by their hash.
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
        """Returns the counts as a JSON document."""
        return json.dumps(dataclasses.asdict(self))


def parse_counts(text: str) -> Counts:
    """Reads what `Counts.to_json` writes."""
    document = json.loads(text)
    return Counts(**document | {"examples": tuple(document["examples"])})


def summarise(
    counts: Counts,
    *,
    num_no_audio: int = 0,
    num_other_names: int = 0,
    elapsed_s: float,
    price_per_hour: float,
) -> Mapping[str, Any]:
    """Returns the content of `summary.json`.

    Args:
        counts: of all files.
        num_no_audio: the files that were passed over, because they are no audio.
        num_other_names: the links that were passed over, because they lead to counted files.
        elapsed_s: the time that the run took, with start-up.
        price_per_hour: of a busy worker, in any currency; 0 if it is unknown.
    """
    return {
        "files": counts.separated + counts.skipped + counts.rejected,
        "separated": counts.separated,
        "skipped": counts.skipped,
        "rejected": counts.rejected,
        "no_audio": num_no_audio,
        "other_names": num_other_names,
        "separated_hours": round(counts.separated_s / 3600, 4),
        "elapsed_s": round(elapsed_s, 1),
        "speed": round(counts.separated_s / elapsed_s, 2),
        "busy_worker_hours": round(counts.busy_s / 3600, 4),
        "model_share": round(counts.model_s / counts.busy_s, 3) if counts.busy_s else None,
        "cost_estimate": round(counts.busy_s / 3600 * price_per_hour, 4) or None,
    }


def describe(summary: Mapping[str, Any]) -> str:
    """Returns the summary as two lines of text."""
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

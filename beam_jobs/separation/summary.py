"""The numbers of a run: counts that add up, and the summary made of them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from beam_jobs.runtime.work_counts import WorkCounts
from command_line.progress import Progress
from pages.numbers import format_hours
from schemas.ledger import LedgerRecord

NUM_EXAMPLES = 12
NUM_DOUBTFUL = 10
# Of conversations whose sources are known, those that came out badly had less than 0.8 and the
# others more than 0.92.
_DOUBTFUL_CONFIDENCE = 0.9


@dataclasses.dataclass(frozen=True, slots=True)
class Doubtful:
    """A separated recording that somebody should listen to.

    Attributes:
        path: its place in the tree.
        confidence: the probability that a second of speech is in the right output, 0 to 1.
        more_voices: whether more people speak than the model has outputs.
    """

    path: str
    confidence: float
    more_voices: bool


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
        one_voice: separated files in which one person speaks.
        more_voices: separated files in which more people speak than the model has outputs.
        scaled_down: separated files that exceed full scale.
        examples: the places in the tree of a few separated files, chosen by their hash.
        doubtful: the few separated files that are the most likely to be wrong, these first.
    """

    separated: int = 0
    skipped: int = 0
    rejected: int = 0
    separated_s: float = 0.0
    model_s: float = 0.0
    busy_s: float = 0.0
    one_voice: int = 0
    more_voices: int = 0
    scaled_down: int = 0
    examples: tuple[str, ...] = ()
    doubtful: tuple[Doubtful, ...] = ()

    def __add__(self, other: "Counts") -> "Counts":
        names = [field.name for field in dataclasses.fields(self)]
        total = Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})
        return dataclasses.replace(
            total,
            examples=tuple(sorted(total.examples, key=_digest)[:NUM_EXAMPLES]),
            doubtful=tuple(sorted(total.doubtful, key=_certainty)[:NUM_DOUBTFUL]),
        )

    def to_json(self) -> str:
        """Returns the counts as a JSON document."""
        return json.dumps(dataclasses.asdict(self))


def count_separated(place: str, record: LedgerRecord) -> Counts:
    """Returns the counts of one recording that was separated.

    Args:
        place: the recording's place in the tree.
        record: of the recording.
    """
    confidence = 1.0 if record.confidence is None else record.confidence
    doubtful = Doubtful(place, confidence, record.has_more_voices)
    return Counts(
        separated=1,
        separated_s=record.duration_s,
        model_s=record.model_s,
        one_voice=int(record.num_voices == 1),
        more_voices=int(record.has_more_voices),
        scaled_down=int(record.gain_db < 0),
        examples=(place,),
        doubtful=(doubtful,) if confidence < _DOUBTFUL_CONFIDENCE or record.has_more_voices else (),
    )


def parse_counts(text: str) -> Counts:
    """Reads what `Counts.to_json` writes."""
    document = json.loads(text)
    document["examples"] = tuple(document["examples"])
    document["doubtful"] = tuple(Doubtful(**one) for one in document["doubtful"])
    return Counts(**document)


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
        "one_voice": counts.one_voice,
        "more_voices": counts.more_voices,
        "scaled_down": counts.scaled_down,
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
    """Returns the summary as text, with a line on recordings that stand out, if there are any."""
    lines = [
        f"{summary['files']} files: {summary['separated']} separated, {summary['skipped']} skipped "
        f"(done before), {summary['rejected']} rejected"
    ]
    if summary["separated"]:
        cost = summary["cost_estimate"]
        lines.append(
            f"{format_hours(summary['separated_hours'])} of audio in {summary['elapsed_s']:.0f} s, "
            f"{summary['speed']:.1f} times as fast as it plays"
            + (f", about {cost:.2f} in worker time" if cost else "")
        )
    if remarks := list_remarks(summary):
        lines.append(", ".join(remarks))
    return "\n".join(lines)


def describe_separation(counts: WorkCounts, elapsed_s: float, *, num_files: int) -> Progress:
    """Returns how far a run is: first by the files looked at, then by the hours of audio.

    Args:
        counts: of all workers so far.
        elapsed_s: the time that the run took so far.
        num_files: of the archive.
    """
    rejected = f"{counts.num_rejected:,} rejected"
    if counts.num_looked < num_files:
        text = f"{counts.num_looked:,}/{num_files:,} files looked at, {rejected}"
        return Progress(text, counts.num_looked, num_files)
    num_done = min(counts.num_skipped + counts.num_done, num_files)
    if not counts.found_s:
        text = f"{num_done:,}/{num_files:,} files, nothing to separate, {rejected}"
        return Progress(text, num_done, num_files)
    # A worker that was lost has counted what another does again.
    done_s = min(counts.done_s, counts.found_s)
    text = (
        f"{num_done:,}/{num_files:,} files,"
        f" {done_s / 3600:.2f}/{counts.found_s / 3600:.2f} h of audio, {rejected},"
        f" {done_s / elapsed_s:.1f} times as fast as it plays"
    )
    return Progress(text, done_s, counts.found_s)


def list_remarks(summary: Mapping[str, Any]) -> list[str]:
    """Lists the numbers of recordings that stand out, each in a sentence without its full stop."""
    remarks = []
    if summary["one_voice"]:
        remarks.append(f"{_count_recordings(summary['one_voice'])} one voice")
    if summary["more_voices"]:
        count = _count_recordings(summary["more_voices"])
        remarks.append(f"{count} more voices than the model has outputs")
    if summary["scaled_down"]:
        count = _count_recordings(summary["scaled_down"])
        remarks.append(f"{count} samples above full scale: scaled down, by the ledger's gain_db")
    return remarks


def _count_recordings(count: int) -> str:
    return "1 recording has" if count == 1 else f"{count} recordings have"


def _certainty(one: Doubtful) -> tuple[bool, float, str]:
    return not one.more_voices, one.confidence, one.path


def _digest(path: str) -> bytes:
    return hashlib.sha256(path.encode(errors="surrogateescape")).digest()

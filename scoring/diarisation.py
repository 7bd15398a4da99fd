"""How well it was told who speaks when: the diarisation error rate, by pyannote.metrics.

As in NIST's Rich Transcription evaluations, a quarter of a second on each side of where a turn of
the reference begins or ends is not scored. Overlapped speech is: each speaker who is not named
counts as missed.
"""

import dataclasses
import importlib.util
from collections.abc import Iterable, Sequence

from schemas.errors import UserError

COLLAR_S = 0.25

Turns = Sequence[tuple[str, float, float]]
"""Who speaks, from when, and until when, in seconds."""


class PyannoteMissingError(UserError):
    """The package that measures is not installed."""


@dataclasses.dataclass(frozen=True, slots=True)
class DiarisationErrors:
    """What was told wrongly of a recording, or of several; all in seconds of one speaker's speech.

    Attributes:
        mixture: the recording's name; empty of several.
        speech_s: all speech of the reference that is scored.
        missed_s: speech that nobody was named for.
        false_alarm_s: speech that was named where there is none.
        confusion_s: speech of one speaker that was given to another.
    """

    mixture: str
    speech_s: float
    missed_s: float
    false_alarm_s: float
    confusion_s: float

    @property
    def rate(self) -> float:
        """The diarisation error rate; 0 where there was nothing to tell."""
        wrong_s = self.missed_s + self.false_alarm_s + self.confusion_s
        return wrong_s / self.speech_s if self.speech_s else float(wrong_s > 0)

    def __str__(self) -> str:
        total_s = self.speech_s or 1.0
        return (
            f"diarisation error rate {self.rate:.1%} (missed {self.missed_s / total_s:.1%}, false"
            f" alarm {self.false_alarm_s / total_s:.1%}, confusion {self.confusion_s / total_s:.1%}"
            f" of {self.speech_s:.0f} s of speech; overlapped speech is scored, {COLLAR_S:g} s on"
            " each side of where a turn begins or ends is not)"
        )


def require_pyannote() -> None:
    """Makes sure that diarisation can be scored.

    Raises:
        PyannoteMissingError: it can't.
    """
    if not can_score():
        raise PyannoteMissingError(
            "who speaks when is scored by pyannote.metrics, which is not installed: pip install"
            " 'spleeter-beam[diarization]'"
        )


def can_score() -> bool:
    """Whether pyannote.metrics is installed."""
    return importlib.util.find_spec("pyannote") is not None and (
        importlib.util.find_spec("pyannote.metrics") is not None
    )


def find_errors(
    mixture: str, *, reference: Turns, hypothesis: Turns, duration_s: float
) -> DiarisationErrors:
    """Compares two time lines of a recording, with the names in their best permutation.

    Args:
        mixture: the recording's name.
        reference: what is true.
        hypothesis: what was told.
        duration_s: of the recording; all of it is scored.
    """
    # An extra, and slow to import.
    from pyannote.core import Annotation, Segment, Timeline  # noqa: PLC0415
    from pyannote.metrics.diarization import DiarizationErrorRate  # noqa: PLC0415

    def annotate(turns: Turns) -> Annotation:
        annotation = Annotation()
        for number, (speaker, start_s, stop_s) in enumerate(turns):
            annotation[Segment(start_s, stop_s), number] = speaker
        # Two turns of one speaker that overlap or touch are one.
        return annotation.support()

    # Its collar is the width of both sides together.
    metric = DiarizationErrorRate(collar=2 * COLLAR_S, skip_overlap=False)
    components = metric.compute_components(
        annotate(reference), annotate(hypothesis), uem=Timeline([Segment(0, duration_s)])
    )
    return DiarisationErrors(
        mixture,
        speech_s=components["total"],
        missed_s=components["missed detection"],
        false_alarm_s=components["false alarm"],
        confusion_s=components["confusion"],
    )


def add_up(errors: Iterable[DiarisationErrors]) -> DiarisationErrors:
    """The errors of several recordings together."""
    columns = zip(*(dataclasses.astuple(one)[1:] for one in errors), strict=True)
    return DiarisationErrors("", *(float(sum(column)) for column in columns))

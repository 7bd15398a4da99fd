"""The diarisation error rate of turns, computed by pyannote.metrics.

As in NIST's Rich Transcription evaluations, a quarter of a second on either side of the beginning
and the end of each reference turn is not scored. Overlapped speech is scored: each speaker that
the hypothesis leaves out counts as missed.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from schemas.errors import UserError, is_installed

COLLAR_S = 0.25

Turns = Sequence[tuple[str, float, float]]
"""Each a speaker, and the start and the end of a turn in seconds."""


class PyannoteMissingError(UserError):
    """pyannote.metrics is not installed."""


@dataclasses.dataclass(frozen=True, slots=True)
class DiarisationErrors:
    """The errors in the turns of a recording, or of several, in seconds of one speaker's speech.

    Attributes:
        mixture: the recording's name; empty for several.
        speech_s: reference speech that is scored.
        missed_s: reference speech without a speaker in the hypothesis.
        false_alarm_s: speech in the hypothesis that the reference does not have.
        confusion_s: speech that the hypothesis gives to another speaker.
    """

    mixture: str
    speech_s: float
    missed_s: float
    false_alarm_s: float
    confusion_s: float

    @property
    def rate(self) -> float:
        """The diarisation error rate; without reference speech, 1 if there are errors, else 0."""
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
    """Checks that pyannote.metrics is installed.

    Raises:
        PyannoteMissingError: it is not; the message says how to install it.
    """
    if not can_score():
        raise PyannoteMissingError(
            "who speaks when is scored by pyannote.metrics, which is not installed: pip install"
            " 'spleeter-beam[diarization]'"
        )


def can_score() -> bool:
    """Returns whether pyannote.metrics is installed."""
    return is_installed("pyannote.metrics")


def find_errors(
    mixture: str, *, reference: Turns, hypothesis: Turns, duration_s: float
) -> DiarisationErrors:
    """Compares the turns of a recording with true ones, under the best mapping of the speakers.

    Args:
        mixture: the recording's name.
        reference: the true turns.
        hypothesis: the turns to score.
        duration_s: the length of the recording, all of which is scored.
    """
    # An optional dependency that is slow to import.
    from pyannote.core import Annotation, Segment, Timeline  # noqa: PLC0415
    from pyannote.metrics.diarization import DiarizationErrorRate  # noqa: PLC0415

    def annotate(turns: Turns) -> Annotation:
        annotation = Annotation()
        for number, (speaker, start_s, stop_s) in enumerate(turns):
            annotation[Segment(start_s, stop_s), number] = speaker
        # Merges turns of one speaker that overlap or touch.
        return annotation.support()

    # pyannote gives the collar as the width of both sides together.
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
    """Adds up the errors of several recordings."""
    columns = zip(*(dataclasses.astuple(one)[1:] for one in errors), strict=True)
    return DiarisationErrors("", *(float(sum(column)) for column in columns))

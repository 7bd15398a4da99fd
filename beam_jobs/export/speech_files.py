"""Who says what when in a mixture, as files of RTTM and of STM.

STM is NIST's format for what is said, `file channel speaker start end text`, which its own scoring
tools and those for meetings read; `beam_jobs.separation.turns` describes RTTM.

Source: sclite of NIST's SCTK, "STM".
"""

from collections.abc import Mapping

from beam_jobs.export.layout import TableEntry
from beam_jobs.separation.turns import Turn, format_rttm

# As STM has it for speech that nobody has written down.
_UNKNOWN = "IGNORE_TIME_SEGMENT_IN_SCORING"


def format_speech(path: str, entry: TableEntry) -> Mapping[str, str]:
    """Returns the RTTM of a mixture, and where anything is known of what is said, the STM.

    Args:
        path: of the files, without their suffix.
        entry: describes the mixture, whose name the lines begin with.

    Returns:
        The content of each file by its path.
    """
    speech = sorted(entry.speech, key=lambda one: (one.start_s, one.source))
    # The fields of a line are apart by white space.
    speakers = ["_".join(speaker.split()) for speaker in entry.speakers]
    name = "_".join(entry.name.split())
    turns = [Turn(speakers[one.source], one.start_s, one.duration_s) for one in speech]
    formatted = {f"{path}.rttm": format_rttm(name, turns)}
    if any(one.text for one in speech):
        formatted[f"{path}.stm"] = "".join(
            f"{name} 1 {speakers[one.source]} {one.start_s:.3f} {one.start_s + one.duration_s:.3f}"
            f" {one.text or _UNKNOWN}\n"
            for one in speech
        )
    return formatted

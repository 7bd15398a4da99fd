"""The card of a model: what its scores say, in Markdown.

They stand in `README.md` of the bundle between two comments, `<!-- scores -->` and
`<!-- end of scores -->`; a card without them gets them at its end.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scoring.metrics import SILENT_OUTPUTS

_BEGIN, _END = "<!-- scores -->\n", "<!-- end of scores -->\n"

MIXTURES = {
    "librimix": "fully overlapped (`librimix`)",
    "sparse": "overlapped from none to all of the time (`sparse`)",
    "conversation": "conversations (`conversation`)",
    "test_telephone": "fully overlapped, by telephone (300 to 3400 Hz, mu-law)",
    "test_noise_10_db": "fully overlapped, noise 10 dB below",
    "test_rooms": "fully overlapped, in recorded rooms",
    "test_level_0_db": "fully overlapped, equally loud",
    "test_level_5_db": "one speaker 5 dB above the other",
    "test_level_10_db": "one speaker 10 dB above the other",
}
"""What each evaluation is made with, by the name of its recipe."""

_COLUMNS = (
    "mixtures",
    "number",
    "SI-SDRi, dB",
    "median",
    "same gender",
    "different",
    "SDR, dB",
    "STOI",
    "ideal ratio mask, SI-SDRi",
    "silent outputs",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Alone:
    """What becomes of recordings of one speaker.

    Attributes:
        num_recordings: of one speaker.
        num_one_voice: those whose speech is all in one output, and silence in the others.
    """

    num_recordings: int
    num_one_voice: int


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What separating an archive costs.

    Attributes:
        times_real_time: seconds of audio in a second, with start-up.
        num_cores: that it had.
        memory_gb: the most that it took.
    """

    times_real_time: float
    num_cores: int
    memory_gb: float


def describe(reports: Mapping[str, Mapping[str, Any]], alone: Alone, cost: Cost) -> str:
    """Returns a table of scores, and sentences about the rest, in Markdown.

    Args:
        reports: what `score_separation` wrote of one model, by the name of the recipe.
        alone: what becomes of one speaker.
        cost: of an archive.
    """
    lines = [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for name, report in reports.items():
        unprocessed, model, mask = report["models"]
        si_sdri_db, genders = model["si_sdri_db"], model["groups"]["gender"]
        lines.append(
            _row(
                [
                    MIXTURES[name],
                    str(model["mixtures"]),
                    f"{si_sdri_db['mean']:.2f}",
                    f"{si_sdri_db['median']:.2f}",
                    *(
                        f"{genders[which]['mean']:.2f}" if which in genders else ""
                        for which in ("same", "different")
                    ),
                    _from_to(unprocessed, model, "sdr_db"),
                    _from_to(unprocessed, model, "stoi"),
                    f"{mask['si_sdri_db']['mean']:.2f}",
                    str(model.get(SILENT_OUTPUTS, {"total": 0})["total"]),
                ]
            )
        )
    librimix = reports["librimix"]
    name = librimix["models"][1]["model"]
    improvements_db = [
        result["measures"]["si_sdri_db"]
        for result in librimix["results"]
        if result["model"] == name
    ]
    tenth, quarter, three_quarters = np.quantile(improvements_db, [0.1, 0.25, 0.75])
    not_improved = np.mean(np.less_equal(improvements_db, 0))
    return "\n".join(
        [
            *lines,
            "",
            f"In the first row, a tenth of the mixtures improve by less than {tenth:.1f} dB, a"
            f" quarter by less than {quarter:.1f}, and a quarter by more than {three_quarters:.1f};"
            f" {not_improved:.0%} do not improve.",
            "",
            f"Of {alone.num_recordings} recordings of one speaker, {alone.num_one_voice} have all"
            " speech in one file, and silence in the other.",
            "",
            f"On {cost.num_cores} CPU cores `separate_archive` separates the conversations"
            f" {cost.times_real_time:.1f} times as fast as they play, with start-up, and takes"
            f" {cost.memory_gb:.1f} GB.",
            "",
        ]
    )


def write_into_card(path: Path, scores: str) -> None:
    """Puts scores into a card in place of those that it has.

    Args:
        path: the card; it need not exist.
        scores: in Markdown.
    """
    card = path.read_text("utf-8") if path.exists() else ""
    before, found, rest = card.partition(_BEGIN)
    after = rest.partition(_END)[2] if found else ""
    path.write_text(before + _BEGIN + scores + _END + after, encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _from_to(unprocessed: Mapping[str, Any], model: Mapping[str, Any], measure: str) -> str:
    return f"{unprocessed[measure]['mean']:.2f} to {model[measure]['mean']:.2f}"

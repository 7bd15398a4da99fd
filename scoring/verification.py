"""How well scores tell pairs of one speaker from pairs of two."""

from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[Any]


def equal_error_rate(same: Scores, different: Scores) -> float:
    """The share of wrong decisions at the threshold where both kinds of error are as frequent.

    Args:
        same: the scores of pairs of one speaker; higher is more alike.
        different: the scores of pairs of two speakers.

    Returns:
        0 to 1; not a number where there are no pairs of one kind.
    """
    if not len(same) or not len(different):
        return float("nan")
    thresholds = np.unique(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), thresholds, side="left") / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), thresholds, side="left") / len(different)
    nearest = np.argmin(np.abs(missed - accepted))
    return float((missed[nearest] + accepted[nearest]) / 2)

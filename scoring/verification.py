"""The equal error rate of scores that compare pairs of recordings of speakers."""

from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[Any]


def equal_error_rate(same: Scores, different: Scores) -> float:
    """Returns the share of wrong decisions at the threshold where both kinds of error are equal.

    Args:
        same: the scores of pairs of one speaker; higher is more alike.
        different: the scores of pairs of two speakers.

    Returns:
        0 to 1, or NaN if there are no pairs of one kind.
    """
    if not len(same) or not len(different):
        return float("nan")
    thresholds = np.unique(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), thresholds, side="left") / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), thresholds, side="left") / len(different)
    nearest = np.argmin(np.abs(missed - accepted))
    return float((missed[nearest] + accepted[nearest]) / 2)

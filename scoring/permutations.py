"""The permutation of a model's outputs that fits the sources best.

The outputs of a joint model have no order, so each is compared with every source. The losses in
`training` do the same inside TensorFlow's graph.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Scores = npt.NDArray[np.float64]
"""The score of each estimate for each source, float64 [estimates, sources]; higher is better."""


def best_permutation(scores: Scores) -> tuple[tuple[int, ...], float]:
    """Finds the permutation of the estimates with the highest sum of scores.

    Args:
        scores: of each estimate for each source, [estimates, sources], as many of both.

    Returns:
        The estimate of each source, and the margin by which the second best permutation falls
        short of it; 0 for a single source.
    """
    num = len(scores)
    best = _assign(scores)
    total = scores[best, range(num)].sum()
    if num == 1:
        return best, 0.0
    # The second best one differs somewhere: so one of the pairs of the best one is not in it.
    margins = []
    for pair in zip(best, range(num), strict=True):
        without = scores.copy()
        without[pair] = scores.min() - num * (np.ptp(scores) + 1)
        margins.append(total - scores[_assign(without), range(num)].sum())
    return best, float(min(margins))


def _assign(scores: Scores) -> tuple[int, ...]:
    """Returns the estimate of each source in the permutation with the highest sum."""
    sources, estimates = linear_sum_assignment(scores.T, maximize=True)
    assert (sources == range(len(scores))).all()
    return tuple(estimates.tolist())

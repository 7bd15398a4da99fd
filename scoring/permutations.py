"""The permutation of a model's outputs that fits the sources best.

The outputs of a joint model have no order, so each is compared with every source. The losses in
`training` do the same inside TensorFlow's graph.
"""

import itertools

import numpy as np
import numpy.typing as npt

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
    permutations = list(itertools.permutations(range(len(scores))))
    totals = scores[permutations, range(len(scores))].sum(axis=1)
    best = int(totals.argmax())
    if len(permutations) == 1:
        return permutations[best], 0.0
    return permutations[best], float(totals[best] - np.delete(totals, best).max())

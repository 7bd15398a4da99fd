"""Clusters of pieces of speech that sound alike."""

import numpy as np
import numpy.typing as npt

from beam_jobs.separation.voice_pieces import Pieces

_NUM_STARTS = 30
_MAX_ITERATIONS = 100
# Two people are unlikely to sound alike, parts of one are likely to: so clusters that are alike
# have to be worth it. Otherwise whoever says little is left to somebody else, who is divided in
# two.
_ALIKE_COST_S = 3.0
_MAX_COSINE = 0.9


def cluster_pieces(
    pieces: Pieces, num_clusters: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Clusters pieces by their embeddings: spherical k-means, the best of several starts.

    The best is the one whose pieces agree best with centroids that are not alike.

    Args:
        pieces: at least as many as clusters.
        num_clusters: how many.

    Returns:
        The centroids, float64 [clusters, dimension], and the seconds of each, float64 [clusters].
    """
    generator = np.random.default_rng(0)
    weighted, num_pieces = pieces.weighted, len(pieces.tracks)
    best_score = -np.inf
    best: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    for _ in range(_NUM_STARTS):
        centroids = to_unit(weighted[generator.choice(num_pieces, num_clusters, replace=False)])
        total = -np.inf
        for _ in range(_MAX_ITERATIONS):
            scores = weighted @ centroids.T
            labels = scores.argmax(axis=1)
            before, total = total, float(scores.max(axis=1).sum())
            if total <= before + 1e-9:
                break
            centroids = find_centroids(weighted, labels, num_clusters)
        score = total - find_alike_s(centroids)
        if score > best_score:
            best_score = score
            seconds = np.bincount(labels, pieces.weights_s, num_clusters).astype(np.float64)
            best = centroids, seconds
    return best


def find_centroids(
    weighted: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], num_clusters: int
) -> npt.NDArray[np.float64]:
    """Averages the pieces of each cluster, float64 [clusters, dimension], unit vectors.

    Args:
        weighted: the embeddings of pieces, each as long as its piece, float64 [pieces, dimension].
        labels: the cluster of each, int64 [pieces].
        num_clusters: how many.
    """
    return to_unit(add_pieces(weighted, labels, num_clusters))


def add_pieces(
    weighted: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], num_clusters: int
) -> npt.NDArray[np.float64]:
    """Adds the pieces of each cluster, float64 [clusters, dimension], as `find_centroids` has them.

    A sum is as long as its pieces agree with its direction, in seconds of perfect agreement.
    """
    # As a product of matrices: `np.add.at` takes tens of times as long.
    sums: npt.NDArray[np.float64] = np.eye(num_clusters)[labels].T @ weighted
    return sums


def find_alike_s(centroids: npt.NDArray[np.float64]) -> float:
    """Returns by how many seconds of perfect agreement it is unlikely that people are so alike.

    Args:
        centroids: of their voices, float64 [voices, dimension].
    """
    cosines = (centroids @ centroids.T)[np.triu_indices(len(centroids), 1)]
    return float(-_ALIKE_COST_S * np.log(1 - np.clip(cosines, 0, _MAX_COSINE) ** 2).sum())


def to_unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scales vectors [..., dimension] to length 1; those of length 0 stay."""
    unit: npt.NDArray[np.float64] = vectors / np.maximum(
        np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9
    )
    return unit

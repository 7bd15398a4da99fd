"""Clusters of pieces of speech that sound alike."""

import numpy as np
import numpy.typing as npt

from beam_jobs.separation.voice_pieces import Pieces

_NUM_STARTS = 30
_MAX_ITERATIONS = 100


def cluster_pieces(
    pieces: Pieces, num_clusters: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Clusters pieces by their embeddings: spherical k-means, the best of several starts.

    Args:
        pieces: at least as many as clusters.
        num_clusters: how many.

    Returns:
        The centroids, float64 [clusters, dimension], and the seconds of each, float64 [clusters].
    """
    generator = np.random.default_rng(0)
    weighted, num_pieces = pieces.weighted, len(pieces.tracks)
    best_total = -np.inf
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
        if total > best_total:
            best_total = total
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
    # As a product of matrices: `np.add.at` takes tens of times as long.
    return to_unit(np.eye(num_clusters)[labels].T @ weighted)


def to_unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scales vectors [..., dimension] to length 1; those of length 0 stay."""
    unit: npt.NDArray[np.float64] = vectors / np.maximum(
        np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9
    )
    return unit

"""Whitening: what all embeddings share, and how those of one voice differ, is taken out of them.

A network is trained to tell many voices apart, each with much speech. What is left in embeddings of
a second of separated speech by its sounds, and by the voices that were separated from it, is larger
in some directions than in others, and clusters follow the largest. So each embedding is taken
relative to the mean of all voices, and directions in which embeddings of one voice differ are made
shorter (within-class covariance normalisation; Hatch et al., 2006).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import UserError
from schemas.pcm import Samples, to_samples
from training.voices.packed_speech import Speech

_CROP_S = 1.1
_MIN_CROPS, _MAX_CROPS = 4, 40
# Directions in which hardly anything differs stay as they are.
_SMOOTHING = 1.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """A linear map of embeddings, which are of length 1 before it and afterwards.

    Attributes:
        mean: float32 [dimension], of all voices.
        transform: float32 [dimension, dimension], symmetric.
    """

    mean: npt.NDArray[np.float32]
    transform: npt.NDArray[np.float32]


def find_whitening(embed: Callable[[Samples], Samples], packed: Sequence[Speech]) -> Whitening:
    """Measures embeddings of crops of the voices in the split `train`.

    Crops are of separated speech, or of clean speech where nothing was separated.

    Args:
        embed: from waveforms float32 [batch, samples] to embeddings float32 [batch, dimension].
        packed: speech.

    Raises:
        UserError: no voice has enough speech.
    """
    kind = "separated" if any(one.kind == "separated" for one in packed) else "clean"
    means, deviations = [], []
    for speech in packed:
        if speech.kind == kind:
            for crops in _crops_by_voice(speech):
                embeddings = embed(crops)
                means.append(embeddings.mean(axis=0))
                deviations.append(embeddings - means[-1])
    if not means:
        raise UserError(
            f"no speaker to train on has {_MIN_CROPS * _CROP_S:.1f} s of speech without pauses:"
            " pack more"
        )
    every = np.concatenate(deviations).astype(np.float64)
    covariance = every.T @ every / (len(every) - len(means))
    powers, directions = np.linalg.eigh(covariance)
    scales = 1 / np.sqrt(powers + _SMOOTHING * powers.mean())
    return Whitening(
        mean=np.mean(means, axis=0, dtype=np.float32),
        transform=(directions * scales @ directions.T).astype(np.float32),
    )


def _crops_by_voice(speech: Speech) -> Iterator[Samples]:
    """Yields the crops of each voice that has enough of them, float32 [crops, samples]."""
    length = round(_CROP_S * speech.sample_rate)
    crops = defaultdict(list)
    for piece in speech.pieces:
        if piece.split == "train":
            for start in range(piece.start, piece.stop - length + 1, length):
                crops[piece.voice].append(speech.pcm[start : start + length])
    for _, own in sorted(crops.items()):
        if len(own) >= _MIN_CROPS:
            yield to_samples(np.stack(own[:_MAX_CROPS]))

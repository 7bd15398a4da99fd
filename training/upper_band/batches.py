"""Batches for training, each a function of the seed and the step alone."""

import dataclasses

import numpy as np

from training.upper_band.packed_mixtures import Energies, Mixtures

_ONE_SPEAKER_SHARE = 0.1
_LEAK_SHARE = 0.3
_LEAK_DB = (-30.0, -8.0)
_GATED_SHARE = 0.2
_GATE_DB = -35.0
_GATE_MARGIN = 6
_NOISE_SHARE = 0.3
_NOISE_DB = (-50.0, -15.0)
_CUT_SHARE = 0.1
# The standard deviations of a source's frequency response above: as a whole, from the first band to
# the last, and from band to band.
_GAIN_DB, _TILT_DB, _BAND_DB = 3.0, 3.0, 1.5
_LOWER_TILT_DB = 2.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Windows of mixtures, changed at random.

    Attributes:
        lower: energies of the outputs, float32 [batch, sources, frames, lower bands].
        products: as in `Mixtures`, float32 [batch, frames, upper bands, parts, parts].
    """

    lower: Energies
    products: Energies


def draw_batch(mixtures: Mixtures, size: int, seed: int, step: int) -> Batch:
    """Draws windows, and gives them other lines, noise, leaks and gates.

    Args:
        mixtures: to draw from.
        size: of the batch.
        seed: of all steps.
        step: counted from 0.
    """
    random = np.random.default_rng([seed, step])
    chosen = random.choice(len(mixtures), size, replace=False)
    drawn = [_change(mixtures, index, random) for index in np.sort(chosen)]
    lower, products = (np.stack(parts).astype(np.float32) for parts in zip(*drawn, strict=True))
    return Batch(lower, products)


def _change(
    mixtures: Mixtures, index: int, random: np.random.Generator
) -> tuple[Energies, Energies]:
    lower, clean = mixtures.separated[index].copy(), mixtures.clean[index]
    num_bands, num_parts = mixtures.products.shape[2:4]
    gains_db = (
        random.normal(0, _GAIN_DB, (1, num_parts))
        + np.linspace(-1, 1, num_bands)[:, np.newaxis] * random.normal(0, _TILT_DB, (1, num_parts))
        + random.normal(0, _BAND_DB, (num_bands, num_parts))
    )
    gains = 10 ** (gains_db / 20)
    if random.random() < _CUT_SHARE:
        gains[random.integers(1, num_bands) :] = 1e-4
    if random.random() < _ONE_SPEAKER_SHARE:
        kept = random.integers(len(lower))
        lower[:] = 0
        lower[kept] = clean[kept]
        gains[:, [part for part in range(len(lower)) if part != kept]] = 0
    elif random.random() < _LEAK_SHARE:
        leaks = 10 ** (random.uniform(*_LEAK_DB, (len(lower), 1, 1)) / 10)
        lower += leaks * (lower.sum(axis=0) - lower)
    if random.random() < _GATED_SHARE:
        lower *= _gates(clean)[..., np.newaxis]
    products = mixtures.products[index] * gains[:, :, np.newaxis] * gains[:, np.newaxis]
    if random.random() < _NOISE_SHARE:
        level = products.sum(axis=(2, 3)).mean(axis=0, keepdims=True).max()
        shape_db = random.uniform(*_NOISE_DB) + np.cumsum(random.normal(0, 1.5, num_bands))
        # The energy of a few bins of noise.
        noise = level * 10 ** (shape_db / 10) * random.gamma(8, 1 / 8, products.shape[:2])
        products[..., -1, -1] += noise
    tilt_db = np.linspace(-1, 1, lower.shape[-1]) * random.normal(0, _LOWER_TILT_DB)
    return lower * 10 ** (tilt_db / 10), products


def _gates(clean: Energies) -> Energies:
    """Returns where a gate would let sources through, [sources, frames]."""
    energies = clean.sum(axis=2)
    threshold = energies.max(axis=1, keepdims=True) * 10 ** (_GATE_DB / 10)
    speaking = (energies > threshold).astype(np.float32)
    around = np.ones(2 * _GATE_MARGIN + 1)
    return np.stack([np.convolve(one, around, "same") > 0 for one in speaking]).astype(np.float32)

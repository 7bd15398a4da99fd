"""What makes shares good: little is missing, and still less is another speaker's."""

import tensorflow as tf

_SMALL = 1e-9
# A source 20 dB softer than both together counts less, and silence not at all.
_SILENT_SHARE = 0.01
_LEAST_ERROR = 1e-3
# Relative to the mean energy of the sources above. What is softer is as good as silence.
_FLOOR = 1e-3
# Another speaker's sibilants disturb far more than a dull one of one's own.
_ADDED_WEIGHT = 6.0
_SPECTRAL_WEIGHT = 0.7


def loss(shares: tf.Tensor, lower: tf.Tensor, products: tf.Tensor) -> tf.Tensor:
    """Returns the level of the errors of each source, and the distance of the spectra, both in dB.

    The error of a band is that of its share of all bins of the mixture, which follows from the
    products alone.

    Args:
        shares: float32 [batch, sources, frames, bands].
        lower: energies of the outputs, float32 [batch, sources, frames, lower bands]. What is
            silent there has no share, and no distance.
        products: as in `Mixtures`.

    Returns:
        float32, no dimensions.
    """
    mixture = mixture_energies(products)[:, tf.newaxis]
    likeness = tf.transpose(tf.reduce_sum(products, axis=-1)[..., :-1], [0, 3, 1, 2])
    sources = tf.transpose(tf.linalg.diag_part(products)[..., :-1], [0, 3, 1, 2])
    given = shares**2 * mixture
    errors = tf.maximum(given - 2 * shares * likeness + sources, 0)
    energies = tf.reduce_sum(sources, axis=[2, 3])
    references = energies + _SILENT_SHARE * tf.reduce_sum(energies, axis=1, keepdims=True) + _SMALL
    errors_db = _decibels(tf.reduce_sum(errors, axis=[2, 3]) / references + _LEAST_ERROR)
    level = tf.reduce_mean(sources, axis=[1, 2, 3], keepdims=True) + _SMALL
    differences_db = _decibels(given / level + _FLOOR) - _decibels(sources / level + _FLOOR)
    weights = tf.where(differences_db > 0, _ADDED_WEIGHT, 1.0)
    heard = tf.cast(tf.reduce_sum(lower, axis=-1, keepdims=True) > 0, tf.float32)
    distances = tf.reduce_mean(weights * differences_db**2 * heard, axis=[1, 2, 3])
    # The root has no derivative at 0, nor has silence a mean.
    distances /= tf.reduce_mean(heard, axis=[1, 2, 3]) + _LEAST_ERROR
    distances_db = tf.sqrt(distances + _LEAST_ERROR)
    return tf.reduce_mean(errors_db) + _SPECTRAL_WEIGHT * tf.reduce_mean(distances_db)


def mixture_energies(products: tf.Tensor) -> tf.Tensor:
    """Returns the energies of the mixture of all parts, float32 [batch, frames, bands]."""
    return tf.maximum(tf.reduce_sum(products, axis=[-2, -1]), 0)


def _decibels(ratios: tf.Tensor) -> tf.Tensor:
    return 10 / tf.math.log(10.0) * tf.math.log(ratios)

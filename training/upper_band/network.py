"""The network: energies in bands become shares of the outputs in the bands above.

What it knows of each output are the energies in bands of the lower band, of the output itself and
of all others together, and the energies of the recording in the bands above, which have to be
shared. Convolutions in time, with the same weights for every output, turn them into a score for
each output and upper band, and into one for nobody, who gets the noise. The shares of the upper
bands are the softmax of the scores. So the number of outputs is free, and their order is
nothing to the network.
"""

import tensorflow as tf

# Relative to the mean of the lower band. What is softer is as good as silence.
_FLOOR = 1e-6
_SILENCE = 1e-12

_NUM_CHANNELS = 64
_WIDTH = 3
_DILATIONS = (1, 2, 4, 8, 1, 2, 4, 8)


def describe(lower: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
    """Returns what the network is given.

    Args:
        lower: energies of the outputs, float32 [batch, sources, frames, lower bands].
        upper: energies of the recording, float32 [batch, frames, upper bands].

    Returns:
        float32 [batch, sources, frames, features].
    """
    total = tf.reduce_sum(lower, axis=1, keepdims=True)
    level = tf.reduce_mean(total, axis=[2, 3], keepdims=True) + _SILENCE
    own, others = (tf.math.log(one / level + _FLOOR) for one in (lower, total - lower))
    above = tf.math.log(upper[:, tf.newaxis] / level + _FLOOR)
    above = tf.broadcast_to(above, tf.concat([tf.shape(own)[:-1], tf.shape(above)[-1:]], axis=0))
    return tf.concat([own, others, above], axis=-1) / 4


class Network(tf.keras.Model):  # type: ignore[misc]
    """The network from energies to shares."""

    def __init__(self, num_bands: int) -> None:
        """Makes a network with random weights for a number of upper bands."""
        super().__init__()
        layers = tf.keras.layers
        self._first = layers.Dense(_NUM_CHANNELS)
        self._blocks = [_Block(dilation) for dilation in _DILATIONS]
        self._last = layers.Dense(2 * num_bands, kernel_initializer="zeros")
        self._num_bands = num_bands

    def call(self, lower: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
        """Returns the shares of the outputs, float32 [batch, sources, frames, upper bands].

        Args:
            lower: energies of the outputs, float32 [batch, sources, frames, lower bands].
            upper: energies of the recording, float32 [batch, frames, upper bands].
        """
        x = self._first(describe(lower, upper))
        for block in self._blocks:
            x = block(x)
        own, nobody = tf.split(self._last(x), 2, axis=-1)
        # Who is digitally silent below is so above, too.
        heard = tf.reduce_sum(lower, axis=-1, keepdims=True) > _SILENCE
        own = tf.where(heard, own, -1e9)
        scores = tf.concat([own, tf.reduce_mean(nobody, axis=1, keepdims=True)], axis=1)
        return tf.nn.softmax(scores, axis=1)[:, :-1]


class _Block(tf.keras.layers.Layer):  # type: ignore[misc]
    """A residual block over time, in which each output hears what the others are about."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        layers = tf.keras.layers
        self._norm = layers.LayerNormalization()
        self._convolve = layers.Conv1D(
            _NUM_CHANNELS, _WIDTH, padding="same", dilation_rate=dilation, activation="relu"
        )
        self._project = layers.Dense(_NUM_CHANNELS)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        y = self._norm(x)
        y = self._convolve(tf.reshape(y, [-1, shape[2], _NUM_CHANNELS]))
        y = tf.reshape(y, shape)
        return x + self._project(tf.concat([y, y - tf.reduce_mean(y, axis=1, keepdims=True)], -1))

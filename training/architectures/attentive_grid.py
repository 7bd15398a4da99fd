"""Convolutions and attention along frames and bands: `joint.attentive_grid`."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from training.spectrogram import dimensions, inverse_stft, stft

layers = tf.keras.layers

_EPSILON = 1e-8
# The exponent of magnitudes: soft sounds then matter too.
_COMPRESSION = 0.3
# Each block has two convolutions along frames; after three blocks, dilations start again at 1.
_NUM_DILATIONS = 6
# Features that each band contributes, per head, to the keys and queries of attention among frames.
_KEY_SIZE = 4


def attentive_grid(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Applies complex masks to the spectrogram of waveforms, float32 [batch, samples, channels].

    The spectrogram is cut into narrow bands that share their weights, so that what is learned at
    one pitch holds at others. In each block, attention (Vaswani et al., "Attention is all you
    need", NeurIPS 2017) and a convolution connect each band with the others in its frame;
    convolutions connect each frame with those around it, and attention with all others, comparing
    frames by the features of all their bands (Wang et al., "TF-GridNet: integrating full- and
    sub-band modeling for speech separation", IEEE/ACM TASLP 31, 2023, with convolutions instead of
    LSTMs). The masks are complex (Williamson et al., "Complex ratio masking for monaural speech
    separation", IEEE/ACM TASLP 24(3), 2016), and the loss is on waveforms.

    Returns:
        `NAME_waveform` of each instrument, as long as the input.
    """
    params = params or {}
    frame_length, frame_step = params.get("frame_length", 256), params.get("frame_step", 128)
    num_filters, num_hidden = params.get("num_filters", 64), params.get("num_hidden", 128)
    num_heads, band_width = params.get("num_heads", 4), params.get("band_width", 4)
    num_channels, num_bins = input_tensor.shape[-1], frame_length // 2 + 1
    num_bands = -(-num_bins // band_width)
    num_samples = tf.shape(input_tensor)[1]
    edge, missing = frame_length - frame_step, -num_samples % frame_step
    level = tf.sqrt(tf.reduce_mean(input_tensor**2, axis=[1, 2], keepdims=True)) + _EPSILON
    padded = tf.pad(input_tensor / level, [[0, 0], [edge, edge + missing], [0, 0]])
    spectrogram = stft(padded, frame_length, frame_step)

    # [batch, frames, bands, filters]; a band also sees half a band on either side.
    below = band_width // 2
    above = (num_bands + 1) * band_width - below - num_bins
    features = tf.pad(_compress(spectrogram), [[0, 0], [1, 1], [below, above], [0, 0]])
    hidden = layers.Conv2D(num_filters, (3, 2 * band_width), (1, band_width))(features)
    hidden = _Place()(hidden)
    for block in range(params.get("num_blocks", 6)):
        hidden += _BandAttention(num_heads)(_Normalisation()(hidden))
        hidden = _convolve(hidden, num_hidden, (1, 3))
        for number in (2 * block, 2 * block + 1):
            hidden = _convolve(hidden, num_hidden, (3, 1), 2 ** (number % _NUM_DILATIONS))
        hidden += _FrameAttention(num_heads)(_Normalisation()(hidden))

    masks = layers.Dense(band_width * len(instruments) * num_channels * 2)(_Normalisation()(hidden))
    masks = layers.Reshape((-1, num_bands * band_width, len(instruments), num_channels, 2))(masks)
    outputs = {}
    for number, name in enumerate(instruments):
        mask = masks[:, :, :num_bins, number]
        separated = inverse_stft(
            tf.complex(mask[..., 0], mask[..., 1]) * spectrogram, frame_length, frame_step
        )
        outputs[f"{name}_waveform"] = separated[:, edge : edge + num_samples] * level
    return outputs


def _compress(spectrogram: tf.Tensor) -> tf.Tensor:
    """Turns complex64 [batch, frames, bins, channels] into float32, three features a channel."""
    magnitude = tf.abs(spectrogram) + _EPSILON
    compressed = magnitude**_COMPRESSION
    scale = compressed / magnitude
    real, imaginary = tf.math.real(spectrogram) * scale, tf.math.imag(spectrogram) * scale
    return tf.concat([real, imaginary, compressed], axis=-1)


def _convolve(
    hidden: tf.Tensor, num_hidden: int, kernel_size: tuple[int, int], dilation: int = 1
) -> tf.Tensor:
    convolution = layers.Conv2D(
        num_hidden,
        kernel_size,
        padding="same",
        dilation_rate=(dilation, 1),
        activation="relu",
    )
    return hidden + layers.Dense(hidden.shape[-1])(convolution(_Normalisation()(hidden)))


class _Place(tf.keras.layers.Layer):  # type: ignore[misc]
    """Adds to each band of [batch, frames, bands, filters] a vector that identifies the band."""

    def build(self, shape: tf.TensorShape) -> None:
        self.place = self.add_weight(
            "place", shape[2:], initializer=tf.keras.initializers.RandomNormal(stddev=0.1)
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self.place


class _Normalisation(tf.keras.layers.Layer):  # type: ignore[misc]
    """Scales the last axis to a mean square of one, and then by learned gains.

    Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """

    def build(self, shape: tf.TensorShape) -> None:
        self.gain = self.add_weight("gain", [shape[-1]], initializer="ones")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        mean_square = tf.reduce_mean(inputs**2, axis=-1, keepdims=True)
        return inputs * tf.math.rsqrt(mean_square + 1e-5) * self.gain


class _BandAttention(tf.keras.layers.Layer):  # type: ignore[misc]
    """Attention among the bands of each frame, [batch, frames, bands, filters]."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads

    def build(self, shape: tf.TensorShape) -> None:
        self.projection = layers.Dense(3 * shape[-1], use_bias=False)
        self.output_layer = layers.Dense(shape[-1])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        batch_size, num_frames, num_bands, num_filters = dimensions(inputs)
        size = num_filters // self._num_heads
        heads = tf.reshape(self.projection(inputs), [-1, num_bands, 3, self._num_heads, size])
        query, key, value = tf.unstack(tf.transpose(heads, [2, 0, 3, 1, 4]))
        seen = tf.transpose(_attend(query, key, value), [0, 2, 1, 3])
        return self.output_layer(tf.reshape(seen, [batch_size, num_frames, num_bands, num_filters]))


class _FrameAttention(tf.keras.layers.Layer):  # type: ignore[misc]
    """Attention among all frames, [batch, frames, bands, filters]."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads

    def build(self, shape: tf.TensorShape) -> None:
        self.keys = layers.Dense(2 * self._num_heads * _KEY_SIZE)
        self.values = layers.Dense(shape[-1])
        self.output_layer = layers.Dense(shape[-1])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        batch_size, num_frames, num_bands, num_filters = dimensions(inputs)
        query, key = tf.split(self.keys(inputs), 2, axis=-1)
        query, key, value = (self._split(part) for part in (query, key, self.values(inputs)))
        seen = tf.reshape(
            _attend(query, key, value),
            [batch_size, self._num_heads, num_frames, num_bands, num_filters // self._num_heads],
        )
        seen = tf.transpose(seen, [0, 2, 3, 1, 4])
        return self.output_layer(tf.reshape(seen, [batch_size, num_frames, num_bands, num_filters]))

    def _split(self, inputs: tf.Tensor) -> tf.Tensor:
        """Turns [batch, frames, bands, heads * size] into [batch, heads, frames, bands * size]."""
        batch_size, num_frames, num_bands, num_features = dimensions(inputs)
        size = num_features // self._num_heads
        heads = tf.reshape(inputs, [batch_size, num_frames, num_bands, self._num_heads, size])
        return tf.reshape(
            tf.transpose(heads, [0, 3, 1, 2, 4]),
            [batch_size, self._num_heads, num_frames, num_bands * size],
        )


def _attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Attends among the positions of [..., positions, size]."""
    weights = tf.matmul(query * query.shape[-1] ** -0.5, key, transpose_b=True)
    return tf.matmul(tf.nn.softmax(weights), value)

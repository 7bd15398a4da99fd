"""Dilated convolutions and attention between waveforms: `joint.attentive_tcn`."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from training.spectrogram import dimensions, inverse_stft, stft

layers = tf.keras.layers

_EPSILON = 1e-8
# Of magnitudes, so that what is soft counts too.
_COMPRESSION = 0.3
_KERNEL_SIZE = 3


def attentive_tcn(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Complex masks on the spectrogram of waveforms, float32 [batch, samples, channels].

    Convolutions of growing dilation, as `joint.tcn` has them, look around each frame; after each
    series of them, attention (Vaswani et al., "Attention is all you need", NeurIPS 2017) looks from
    each frame at all others, which is how a voice is known again after a pause. The masks are
    complex (Williamson et al., "Complex ratio masking for monaural speech separation", IEEE/ACM
    TASLP 24(3), 2016), and the loss is on waveforms.

    Returns:
        `NAME_waveform` of each instrument, as long as the input.
    """
    params = params or {}
    frame_length, frame_step = params.get("frame_length", 256), params.get("frame_step", 128)
    num_filters = params.get("num_filters", 128)
    num_channels, num_bins = input_tensor.shape[-1], frame_length // 2 + 1
    num_samples = tf.shape(input_tensor)[1]
    edge, missing = frame_length - frame_step, -num_samples % frame_step
    level = tf.sqrt(tf.reduce_mean(input_tensor**2, axis=[1, 2], keepdims=True)) + _EPSILON
    padded = tf.pad(input_tensor / level, [[0, 0], [edge, edge + missing], [0, 0]])
    spectrogram = stft(padded, frame_length, frame_step)

    # Frames come first in between: what is some frames on is then a slice, which costs nothing.
    features = layers.Reshape((-1, 3 * num_bins * num_channels))(_compress(spectrogram))
    hidden = layers.Dense(num_filters)(tf.transpose(features, [1, 0, 2]))
    for _ in range(params.get("num_repeats", 2)):
        for block in range(params.get("num_blocks", 7)):
            convolution = _DilatedConvolution(params.get("num_hidden", 256), 2**block)
            hidden += layers.Dense(num_filters)(convolution(_Normalisation()(hidden)))
        hidden += _Attention(params.get("num_heads", 4))(_Normalisation()(hidden))
    hidden = tf.transpose(_Normalisation()(hidden), [1, 0, 2])

    outputs = {}
    for name in instruments:
        real, imaginary = (
            layers.Reshape((-1, num_bins, num_channels))(
                layers.Dense(num_bins * num_channels)(hidden)
            )
            for _ in range(2)
        )
        separated = inverse_stft(
            tf.complex(real, imaginary) * spectrogram, frame_length, frame_step
        )
        outputs[f"{name}_waveform"] = separated[:, edge : edge + num_samples] * level
    return outputs


def _compress(spectrogram: tf.Tensor) -> tf.Tensor:
    """From complex64 [batch, frames, bins, channels] to float32, three features a channel."""
    magnitude = tf.abs(spectrogram) + _EPSILON
    compressed = magnitude**_COMPRESSION
    scale = compressed / magnitude
    real, imaginary = tf.math.real(spectrogram) * scale, tf.math.imag(spectrogram) * scale
    return tf.concat([real, imaginary, compressed], axis=-1)


class _Normalisation(tf.keras.layers.Layer):  # type: ignore[misc]
    """Scales the last axis to a mean square of one, and by weights.

    Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """

    def build(self, shape: tf.TensorShape) -> None:
        self.gain = self.add_weight("gain", [shape[-1]], initializer="ones")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _normalise(inputs) * self.gain


@tf.custom_gradient  # type: ignore[misc]
def _normalise(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    # The gradient in as few passes over memory as there can be: they are what costs.
    scale = tf.math.rsqrt(tf.reduce_mean(inputs**2, axis=-1, keepdims=True) + 1e-5)
    outputs = inputs * scale

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        along = tf.reduce_mean(upstream * outputs, axis=-1, keepdims=True)
        return (upstream - outputs * along) * scale

    return outputs, gradient


class _DilatedConvolution(tf.keras.layers.Layer):  # type: ignore[misc]
    """A convolution along the first axis of [frames, batch, features], and a ReLU.

    One product with each frame and those before and after it.
    """

    def __init__(self, size: int, dilation: int) -> None:
        super().__init__()
        self._size, self._dilation = size, dilation

    def build(self, shape: tf.TensorShape) -> None:
        self.kernel = self.add_weight(
            "kernel", [_KERNEL_SIZE * shape[-1], self._size], initializer="glorot_uniform"
        )
        self.bias = self.add_weight("bias", [self._size], initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        num_frames, batch_size, num_features = dimensions(inputs)
        dilation = self._dilation
        padded = tf.pad(inputs, [[dilation, dilation], [0, 0], [0, 0]])
        around = tf.concat([padded[:num_frames], inputs, padded[2 * dilation :]], axis=-1)
        rows = tf.reshape(around, [-1, _KERNEL_SIZE * num_features])
        convolved = tf.nn.relu(tf.nn.bias_add(tf.matmul(rows, self.kernel), self.bias))
        return tf.reshape(convolved, [num_frames, batch_size, self._size])


class _Attention(tf.keras.layers.Layer):  # type: ignore[misc]
    """Each frame of [frames, batch, features] looks at all frames."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads

    def build(self, shape: tf.TensorShape) -> None:
        self.projection = layers.Dense(3 * shape[-1], use_bias=False)
        self.output_layer = layers.Dense(shape[-1])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        num_frames, batch_size, num_features = dimensions(inputs)
        size = num_features // self._num_heads
        heads = tf.reshape(
            self.projection(inputs), [num_frames, batch_size, 3, self._num_heads, size]
        )
        query, key, value = tf.unstack(tf.transpose(heads, [2, 1, 3, 0, 4]))
        weights = tf.nn.softmax(tf.matmul(query * size**-0.5, key, transpose_b=True))
        seen = tf.transpose(tf.matmul(weights, value), [2, 0, 1, 3])
        return self.output_layer(tf.reshape(seen, [num_frames, batch_size, num_features]))

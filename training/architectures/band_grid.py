"""LSTMs along the bands of a spectrogram and along its frames, in turn: `joint.band_grid`."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from training.spectrogram import dimensions, inverse_stft, stft

layers = tf.keras.layers

_EPSILON = 1e-8
# Of magnitudes, so that what is soft counts too.
_COMPRESSION = 0.3
_NUM_KEYS = 4


def band_grid(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """A grid of frames and bands between waveforms, float32 [batch, samples, channels].

    Each band of the spectrogram becomes a vector in each frame. Blocks look along the bands of a
    frame, along the frames of a band, and from each frame at all others, with the same weights
    everywhere: what is learned of one voice goes for a higher one too. Each bin has a complex mask
    for each instrument in the end.

    The blocks are in the manner of Wang et al., "TF-GridNet: integrating full- and sub-band
    modeling for speech separation", IEEE/ACM TASLP 31, 2023; the bands in that of Luo and Yu,
    "Music source separation with band-split RNN", IEEE/ACM TASLP 31, 2023.

    Returns:
        `NAME_waveform` of each instrument, as long as the input.
    """
    params = params or {}
    frame_length, frame_step = params.get("frame_length", 256), params.get("frame_step", 128)
    num_features = params.get("num_features", 64)
    num_channels, num_bins = input_tensor.shape[-1], frame_length // 2
    num_samples = tf.shape(input_tensor)[1]
    edge, missing = frame_length - frame_step, -num_samples % frame_step
    level = tf.sqrt(tf.reduce_mean(input_tensor**2, axis=[1, 2], keepdims=True)) + _EPSILON
    padded = tf.pad(input_tensor / level, [[0, 0], [edge, edge + missing], [0, 0]])
    # Without the last bin, which is half as wide as the others, the bands come out even.
    spectrogram = stft(padded, frame_length, frame_step, num_bins)

    bands = _divide_into_bands(num_bins)
    grid = _split(_compress(spectrogram), bands, num_features)
    for _ in range(params.get("num_blocks", 3)):
        grid = _block(grid, params.get("num_units", 64), params.get("num_heads", 4))
    grid = layers.Dense(2 * num_features, activation="relu")(_Normalisation()(grid))
    masks = _join(grid, bands, 2 * len(instruments) * num_channels)
    masks = layers.Reshape((-1, num_bins, 2, len(instruments), num_channels))(masks)

    outputs = {}
    for slot, name in enumerate(instruments):
        real, imaginary = masks[:, :, :, 0, slot], masks[:, :, :, 1, slot]
        separated = tf.complex(real, imaginary) * spectrogram
        separated = tf.pad(separated, [[0, 0], [0, 0], [0, 1], [0, 0]])
        waveform = inverse_stft(separated, frame_length, frame_step)
        outputs[f"{name}_waveform"] = waveform[:, edge : edge + num_samples] * level
    return outputs


def _compress(spectrogram: tf.Tensor) -> tf.Tensor:
    """From complex64 [batch, frames, bins, channels] to float32, three features a channel."""
    magnitude = tf.abs(spectrogram) + _EPSILON
    compressed = magnitude**_COMPRESSION
    scale = compressed / magnitude
    real, imaginary = tf.math.real(spectrogram) * scale, tf.math.imag(spectrogram) * scale
    return tf.concat([real, imaginary, compressed], axis=-1)


def _divide_into_bands(num_bins: int) -> list[tuple[slice, int]]:
    """Bins, and the width of the bands in them: narrow where harmonics are what tells voices apart.

    64 bands would fit in if all were as narrow as the lowest ones; here they are 32.
    """
    width, quarter = num_bins // 64, num_bins // 4
    return [
        (slice(0, quarter), width),
        (slice(quarter, 2 * quarter), 2 * width),
        (slice(2 * quarter, num_bins), 4 * width),
    ]


def _split(features: tf.Tensor, bands: Sequence[tuple[slice, int]], size: int) -> tf.Tensor:
    """From [batch, frames, bins, features] to [bands, batch, frames, size]."""
    num_features = features.shape[-1]
    parts = []
    for bins, width in bands:
        count = (bins.stop - bins.start) // width
        part = layers.Reshape((-1, count, width * num_features))(features[:, :, bins])
        parts.append(_DenseOfBands(size)(tf.transpose(part, [2, 0, 1, 3])))
    return tf.concat(parts, axis=0)


def _join(grid: tf.Tensor, bands: Sequence[tuple[slice, int]], size: int) -> tf.Tensor:
    """From [bands, batch, frames, features] to [batch, frames, bins * size]."""
    parts, first = [], 0
    for bins, width in bands:
        count = (bins.stop - bins.start) // width
        part = _DenseOfBands(width * size)(grid[first : first + count])
        part = layers.Reshape((-1, count * width * size))(tf.transpose(part, [1, 2, 0, 3]))
        parts.append(part)
        first += count
    return tf.concat(parts, axis=-1)


def _block(grid: tf.Tensor, num_units: int, num_heads: int) -> tf.Tensor:
    """Of [bands, batch, frames, features]."""
    num_features = grid.shape[-1]
    grid += layers.Dense(num_features)(_BidirectionalLstm(num_units)(_Normalisation()(grid)))
    frames_first = tf.transpose(_Normalisation()(grid), [2, 0, 1, 3])
    along_frames = layers.Dense(num_features)(_BidirectionalLstm(num_units)(frames_first))
    grid += tf.transpose(along_frames, [1, 2, 0, 3])
    return grid + _Attention(num_heads)(_Normalisation()(grid))


class _Normalisation(tf.keras.layers.Layer):  # type: ignore[misc]
    """Layer normalisation of the last axis.

    Keras' own takes a detour by way of batch normalisation, which on a CPU takes longer.
    """

    def build(self, shape: tf.TensorShape) -> None:
        self.gain = self.add_weight("gain", [shape[-1]], initializer="ones")
        self.bias = self.add_weight("bias", [shape[-1]], initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        centred = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
        variance = tf.reduce_mean(centred**2, axis=-1, keepdims=True)
        return centred * tf.math.rsqrt(variance + 1e-5) * self.gain + self.bias


class _DenseOfBands(tf.keras.layers.Layer):  # type: ignore[misc]
    """A dense layer with weights of its own for each band of [bands, batch, frames, features]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def build(self, shape: tf.TensorShape) -> None:
        num_bands, _, _, num_features = shape
        self.kernel = self.add_weight(
            "kernel",
            [num_bands, num_features, self._size],
            initializer=tf.keras.initializers.RandomNormal(stddev=num_features**-0.5),
        )
        self.bias = self.add_weight("bias", [num_bands, 1, self._size], initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        num_bands, batch_size, num_frames, num_features = dimensions(inputs)
        rows = tf.reshape(inputs, [num_bands, batch_size * num_frames, num_features])
        outputs = tf.matmul(rows, self.kernel) + self.bias
        return tf.reshape(outputs, [num_bands, batch_size, num_frames, self._size])


class _BidirectionalLstm(tf.keras.layers.Layer):  # type: ignore[misc]
    """An LSTM in each direction along the first axis of [steps, ..., features].

    `BlockLSTM` takes all steps in one kernel, and for layers as small as these half the time of
    Keras' loop. The gradient that TensorFlow 2.12 has for `BlockLSTMV2` takes two of its gates for
    each other.
    """

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self._num_units = num_units

    def build(self, shape: tf.TensorShape) -> None:
        num_units = self._num_units
        # Of the gates in the kernel's order: input, cell, forget, output. What is remembered at
        # first is what there is to learn from (Jozefowicz et al., 2015).
        bias = tf.constant_initializer(
            [0.0] * 2 * num_units + [1.0] * num_units + [0.0] * num_units
        )
        self.kernels = [
            self.add_weight(
                f"kernel_{direction}",
                [shape[-1] + num_units, 4 * num_units],
                initializer="glorot_uniform",
            )
            for direction in ("forward", "backward")
        ]
        self.biases = [
            self.add_weight(f"bias_{direction}", [4 * num_units], initializer=bias)
            for direction in ("forward", "backward")
        ]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        num_steps, *others, num_features = dimensions(inputs)
        steps = tf.reshape(inputs, [num_steps, -1, num_features])
        forward = self._run(steps, 0)
        backward = tf.reverse(self._run(tf.reverse(steps, [0]), 1), [0])
        outputs = tf.concat([forward, backward], axis=-1)
        return tf.reshape(outputs, [num_steps, *others, 2 * self._num_units])

    def _run(self, steps: tf.Tensor, direction: int) -> tf.Tensor:
        nothing = tf.zeros([tf.shape(steps)[1], self._num_units])
        no_peephole = tf.zeros([self._num_units])
        return tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(steps, tf.int64)[0],
            x=steps,
            cs_prev=nothing,
            h_prev=nothing,
            w=self.kernels[direction],
            wci=no_peephole,
            wcf=no_peephole,
            wco=no_peephole,
            b=self.biases[direction],
            forget_bias=0.0,
            cell_clip=-1.0,
        ).h


class _Attention(tf.keras.layers.Layer):  # type: ignore[misc]
    """Each frame of [bands, batch, frames, features] looks at all frames, with all of its bands."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads

    def build(self, shape: tf.TensorShape) -> None:
        num_features = shape[-1]
        self.query, self.key = (layers.Dense(self._num_heads * _NUM_KEYS) for _ in range(2))
        self.value, self.output_layer = (layers.Dense(num_features) for _ in range(2))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        num_bands, batch_size, num_frames, num_features = dimensions(inputs)
        per_head = num_features // self._num_heads
        query, key = (self._heads(layer(inputs)) for layer in (self.query, self.key))
        scores = tf.matmul(query, key, transpose_b=True) * (num_bands * _NUM_KEYS) ** -0.5
        seen = tf.matmul(tf.nn.softmax(scores), self._heads(self.value(inputs)))
        seen = tf.reshape(seen, [batch_size, self._num_heads, num_frames, num_bands, per_head])
        seen = tf.transpose(seen, [3, 0, 2, 1, 4])
        return self.output_layer(
            tf.reshape(seen, [num_bands, batch_size, num_frames, num_features])
        )

    def _heads(self, grid: tf.Tensor) -> tf.Tensor:
        """[batch, heads, frames, bands * features of a head]."""
        num_bands, batch_size, num_frames, num_features = dimensions(grid)
        per_head = num_features // self._num_heads
        heads = tf.reshape(grid, [num_bands, batch_size, num_frames, self._num_heads, per_head])
        heads = tf.transpose(heads, [1, 3, 2, 0, 4])
        return tf.reshape(heads, [batch_size, self._num_heads, num_frames, num_bands * per_head])

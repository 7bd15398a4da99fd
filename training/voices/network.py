"""The network: log mel bands, convolutions in frequency and time, then in time, then statistics.

A small relative of ECAPA-TDNN (Desplanques et al., 2020): residual blocks with squeeze and
excitation, and attentive pooling of means and deviations. It has strides instead of dilation,
which cost less on a CPU. The statistics of the bands themselves bypass the convolutions, because
for a few seconds of one recording they alone tell speakers apart well.
"""

import numpy as np
import scipy.fft
import tensorflow as tf

from schemas.pcm import Samples
from schemas.voice_configuration import VoiceConfiguration

# Shorter speech is repeated, so that the network sees enough frames.
MIN_DURATION_S = 0.5

_LOWEST_HZ = 60.0
# Of the power in a band, relative to that of the whole signal; hides noise below speech.
_FLOOR = 1e-5
_LEVEL_FLOOR = 1e-4
_NUM_CEPSTRA = 24


def build_network(configuration: VoiceConfiguration) -> tf.keras.Model:
    """Builds the network from bands [batch, frames, bands] to unit vectors [batch, dimension]."""
    layers = tf.keras.layers
    num_channels = configuration.num_channels
    bands = layers.Input([None, configuration.num_bands])
    x = bands[..., tf.newaxis]
    for filters, strides in (
        (configuration.band_filters // 2, 2),
        (configuration.band_filters, (1, 2)),
    ):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape([-1, configuration.num_bands // 4 * configuration.band_filters])(x)
    x = _convolve(x, num_channels, 1)
    x = _block(x, num_channels)
    x = _convolve(x, num_channels, 3, strides=2)
    parts = []
    for _ in range(configuration.num_blocks):
        x = _block(x, num_channels)
        parts.append(x)
    x = _convolve(layers.Concatenate()(parts), 2 * num_channels, 1)
    x = layers.Concatenate()([_pool(x, num_channels // 2), _describe_spectra(bands)])
    x = layers.Dense(configuration.dimension, use_bias=False)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization(scale=False)(x)
    return tf.keras.Model(bands, tf.math.l2_normalize(x, axis=-1))


def log_mel_bands(waveform: tf.Tensor, configuration: VoiceConfiguration) -> tf.Tensor:
    """Returns the log mel bands of speech, relative to its level.

    Args:
        waveform: float32 [batch, samples].
        configuration: of the network.

    Returns:
        float32 [batch, frames, bands].
    """
    length = configuration.frame_length
    level = tf.sqrt(tf.reduce_mean(tf.square(waveform), axis=1, keepdims=True))
    waveform /= level + _LEVEL_FLOOR
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    frames = tf.signal.frame(waveform, length, configuration.frame_step) * window
    spectra = tf.signal.rfft(frames)
    power = (tf.math.real(spectra) ** 2 + tf.math.imag(spectra) ** 2) / np.sum(window**2)
    bands = tf.matmul(power, _band_weights(configuration))
    return tf.math.log(bands + _FLOOR)


def embed(
    network: tf.keras.Model, waveform: tf.Tensor, configuration: VoiceConfiguration
) -> tf.Tensor:
    """Returns the embeddings of speech of any length from one sample.

    Args:
        network: as `build_network` makes it.
        waveform: float32 [batch, samples].
        configuration: of the network.

    Returns:
        float32 [batch, dimension], of length 1 each.
    """
    num_samples = tf.shape(waveform)[1]
    min_samples = round(MIN_DURATION_S * configuration.sample_rate)
    places = tf.range(tf.maximum(num_samples, min_samples)) % tf.maximum(num_samples, 1)
    waveform = tf.gather(waveform, places, axis=1)
    return network(log_mel_bands(waveform, configuration), training=False)


def _convolve(x: tf.Tensor, num_channels: int, width: int, strides: int = 1) -> tf.Tensor:
    layers = tf.keras.layers
    x = layers.Conv1D(num_channels, width, strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _block(x: tf.Tensor, num_channels: int) -> tf.Tensor:
    layers = tf.keras.layers
    y = _convolve(x, num_channels, 3)
    y = layers.BatchNormalization()(layers.Conv1D(num_channels, 1, use_bias=False)(y))
    gate = layers.Dense(num_channels // 4, "relu")(layers.GlobalAveragePooling1D(keepdims=True)(y))
    gate = layers.Dense(num_channels, "sigmoid")(gate)
    return layers.ReLU()(x + y * gate)


def _describe_spectra(bands: tf.Tensor) -> tf.Tensor:
    """Returns the long-term spectrum, and the deviations of the spectra and of their changes."""
    rotation = scipy.fft.dct(np.eye(bands.shape[-1]), norm="ortho", axis=1)[:, :_NUM_CEPSTRA]
    cepstra = tf.matmul(bands, rotation.astype(np.float32))
    changes = cepstra[:, 2:] - cepstra[:, :-2]
    deviations = [
        tf.sqrt(tf.math.reduce_variance(values, axis=1) + 1e-5)
        for values in (bands, cepstra, changes)
    ]
    return tf.concat([tf.reduce_mean(bands, axis=1), *deviations], axis=-1)


def _pool(x: tf.Tensor, num_hidden: int) -> tf.Tensor:
    """Returns the means and deviations over time, weighted by an attention for each channel."""
    layers = tf.keras.layers
    scores = layers.Conv1D(x.shape[-1], 1)(layers.Conv1D(num_hidden, 1, activation="tanh")(x))
    weights = tf.nn.softmax(scores, axis=1)
    mean = tf.reduce_sum(weights * x, axis=1)
    variance = tf.reduce_sum(weights * x**2, axis=1) - mean**2
    return layers.Concatenate()([mean, tf.sqrt(tf.maximum(variance, 1e-5))])


def _band_weights(configuration: VoiceConfiguration) -> Samples:
    """float32 [bins, bands]: triangles evenly spaced on the mel scale, each with a sum of 1."""
    rate, length = configuration.sample_rate, configuration.frame_length
    edges_mel = np.linspace(
        1127 * np.log1p(_LOWEST_HZ / 700),
        1127 * np.log1p(rate / 2 / 700),
        configuration.num_bands + 2,
    )
    edges_hz = 700 * np.expm1(edges_mel / 1127)
    bins_hz = np.fft.rfftfreq(length, 1 / rate)[:, np.newaxis]
    # A band narrower than the distance of two bins would fall between them.
    widths_hz = np.maximum(np.diff(edges_hz), rate / length)
    rise = (bins_hz - (edges_hz[1:-1] - widths_hz[:-1])) / widths_hz[:-1]
    fall = ((edges_hz[1:-1] + widths_hz[1:]) - bins_hz) / widths_hz[1:]
    weights = np.clip(np.minimum(rise, fall), 0, None)
    return (weights / weights.sum(axis=0)).astype(np.float32)  # type: ignore[no-any-return]

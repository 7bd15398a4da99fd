"""Joint architectures: one network for all speakers.

The loss decides which output is which speaker: the best permutation, or the order of the onsets.
All take any number of frames (or samples), and one to five instruments. Except for
`attentive_grid`, each speaker has a mask, and the masks add up to one.
"""

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from training.architectures.attentive_grid import attentive_grid

__all__ = ["attentive_grid", "blstm", "tasnet", "tcn"]

layers = tf.keras.layers

_KERNEL_SIZE = 3
_FLOOR = 1e-2


def blstm(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Applies bidirectional LSTM layers to magnitudes, float32 [batch, frames, F, channels].

    Kolbaek et al., "Multitalker speech separation with utterance-level permutation invariant
    training of deep recurrent neural networks", IEEE/ACM TASLP 25(10), 2017.
    """
    params = params or {}
    hidden = _relative_log(input_tensor)
    for _ in range(params.get("num_layers", 2)):
        lstm = layers.LSTM(params.get("lstm_units", 300), return_sequences=True)
        hidden = layers.Bidirectional(lstm)(hidden)
    return _masked(hidden, input_tensor, instruments)


def tcn(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Applies dilated convolutions to magnitudes, float32 [batch, frames, F, channels].

    The separator of Luo and Mesgarani, "Conv-TasNet: surpassing ideal time-frequency magnitude
    masking for speech separation", IEEE/ACM TASLP 27(8), 2019, with full convolutions instead of
    depthwise ones: on a CPU, passes over memory are expensive and products are cheap.
    """
    hidden = _convolutions(_relative_log(input_tensor), params or {})
    return _masked(hidden, input_tensor, instruments)


def tasnet(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Applies dilated convolutions to a learned encoding of float32 [batch, samples, channels].

    With `joined_frames`, the convolutions take that many frames of the encoder as one: the masks
    are as fine as without, but the convolutions run at a fraction of the rate.

    Returns:
        `NAME_waveform` of each instrument, as long as the input.
    """
    params = params or {}
    num_channels = input_tensor.shape[-1]
    num_filters = params.get("encoder_filters", 256)
    length = params.get("encoder_length", 32)
    level = tf.sqrt(tf.reduce_mean(input_tensor**2, axis=[1, 2], keepdims=True)) + 1e-8
    joined = params.get("joined_frames", 1)
    # With "same", the position of the frames depends on the length; only for whole strides is it
    # the same as in the decoder.
    num_samples = tf.shape(input_tensor)[1]
    missing = -num_samples % (joined * (length // 2))
    encoded = layers.Conv1D(
        num_filters, length, length // 2, padding="same", activation="relu", use_bias=False
    )(tf.pad(input_tensor / level, [[0, 0], [0, missing], [0, 0]]))
    features = layers.LayerNormalization()(encoded)
    hidden = _convolutions(layers.Reshape((-1, joined * num_filters))(features), params)
    logits = [layers.Dense(joined * num_filters)(hidden) for _ in instruments]
    masks = [layers.Reshape((-1, num_filters))(mask) for mask in _softmax(logits)]
    decoder = layers.Conv1DTranspose(
        num_channels, length, length // 2, padding="same", use_bias=False
    )
    return {
        f"{name}_waveform": decoder(encoded * mask)[:, :num_samples] * level
        for name, mask in zip(instruments, masks, strict=True)
    }


def _relative_log(magnitudes: tf.Tensor) -> tf.Tensor:
    """Computes log magnitudes relative to their mean, independent of the recording's level."""
    _, _, num_bins, num_channels = magnitudes.shape
    mean = tf.reduce_mean(magnitudes, axis=[1, 2, 3], keepdims=True)
    features = tf.math.log(magnitudes / (mean + 1e-8) + _FLOOR)
    return layers.Reshape((-1, num_bins * num_channels))(features)


def _convolutions(features: tf.Tensor, params: dict[str, Any]) -> tf.Tensor:
    num_filters = params.get("num_filters", 128)
    hidden = layers.Dense(num_filters)(features)
    for _ in range(params.get("num_repeats", 2)):
        for block in range(params.get("num_blocks", 7)):
            convolved = layers.Conv1D(
                params.get("num_hidden", 256),
                _KERNEL_SIZE,
                dilation_rate=2**block,
                padding="same",
                activation="relu",
            )(layers.LayerNormalization()(hidden))
            hidden += layers.Dense(num_filters)(convolved)
    return layers.LayerNormalization()(hidden)


def _masked(
    hidden: tf.Tensor, magnitudes: tf.Tensor, instruments: Sequence[str]
) -> dict[str, tf.Tensor]:
    _, _, num_bins, num_channels = magnitudes.shape
    logits = [layers.Dense(num_bins * num_channels)(hidden) for _ in instruments]
    masks = [layers.Reshape((-1, num_bins, num_channels))(mask) for mask in _softmax(logits)]
    return {
        f"{name}_spectrogram": mask * magnitudes
        for name, mask in zip(instruments, masks, strict=True)
    }


def _softmax(logits: list[tf.Tensor]) -> list[tf.Tensor]:
    """Computes a softmax across tensors; across a short axis of one tensor it would be slower."""
    peak = tf.stop_gradient(functools.reduce(tf.maximum, logits))
    powers = [tf.exp(logit - peak) for logit in logits]
    share = tf.math.reciprocal(tf.add_n(powers))
    return [power * share for power in powers]

"""Spleeter's BLSTM, on CPUs as well as on GPUs.

Uhlich et al., "Improving music source separation based on deep neural networks through data
augmentation and network blending", ICASSP 2017. Spleeter builds it from `CuDNNLSTM`, which runs on
GPUs only; Keras' own LSTM has the same equations, and uses CuDNN where it can.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from spleeter.model.functions import apply

_NUM_LAYERS = 3


def apply_blstm(
    input_tensor: tf.Tensor, output_name: str = "output", params: dict[str, Any] | None = None
) -> tf.Tensor:
    """Applies the network of one instrument, float32 [batch, T, F, channels] in and out."""
    num_frames, num_bins, num_channels = input_tensor.shape[1:]
    units = (params or {}).get("lstm_units", 250)
    hidden = tf.keras.layers.Reshape((num_frames, num_bins * num_channels))(input_tensor)
    for _ in range(_NUM_LAYERS):
        hidden = tf.keras.layers.Bidirectional(
            tf.keras.layers.LSTM(units, kernel_initializer=_initializer(), return_sequences=True)
        )(hidden)
    hidden = tf.keras.layers.Dense(
        num_bins * num_channels, activation="relu", kernel_initializer=_initializer()
    )(hidden)
    return tf.keras.layers.Reshape(input_tensor.shape[1:], name=output_name)(hidden)


def blstm(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Applies one BLSTM per instrument, float32 [batch, T, F, channels] in and out."""
    return apply(apply_blstm, input_tensor, instruments, params)


def _initializer() -> tf.keras.initializers.Initializer:
    return tf.keras.initializers.HeUniform(seed=50)

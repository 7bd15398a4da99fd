"""Spleeter's U-Nets, for mono as well as for stereo.

Spleeter's networks have two output channels whatever they are fed, and multiply the mask of both
with a single input channel. Only as many as there are input channels mean something.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from spleeter.model.functions import unet as stock


def unet(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """One U-Net per instrument, float32 [batch, T, F, channels] in and out."""
    return _input_channels(stock.unet(input_tensor, instruments, params), input_tensor)


def softmax_unet(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """One U-Net per instrument, with masks that add up to one."""
    return _input_channels(
        stock.softmax_unet(input_tensor, instruments, params or {}), input_tensor
    )


def _input_channels(outputs: dict[str, tf.Tensor], input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
    num_channels = input_tensor.shape[-1]
    return {name: output[..., :num_channels] for name, output in outputs.items()}

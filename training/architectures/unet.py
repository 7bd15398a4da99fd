"""Spleeter's U-Nets, on mono as well as on stereo.

Spleeter's networks always have two output channels, and multiply both masks with the one channel of
a mono input. Only as many output channels as there are input channels mean anything.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from spleeter.model.functions import unet as stock


def unet(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Applies one U-Net per instrument, float32 [batch, T, F, channels] in and out."""
    return _input_channels(stock.unet(input_tensor, instruments, params), input_tensor)


def softmax_unet(
    input_tensor: tf.Tensor, instruments: Sequence[str], params: dict[str, Any] | None = None
) -> dict[str, tf.Tensor]:
    """Applies one U-Net per instrument, with masks that add up to one."""
    return _input_channels(
        stock.softmax_unet(input_tensor, instruments, params or {}), input_tensor
    )


def _input_channels(outputs: dict[str, tf.Tensor], input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
    num_channels = input_tensor.shape[-1]
    return {name: output[..., :num_channels] for name, output in outputs.items()}

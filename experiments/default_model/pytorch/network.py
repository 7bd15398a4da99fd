"""`joint.attentive_grid` in PyTorch, for two speakers and one channel.

Weights have the axes that they have in TensorFlow.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from experiments.default_model.pytorch.kernels import Add, Attend, Convolve, Project

# The same as in training.architectures.attentive_grid, which says what they are for.
_EPSILON = 1e-8
_COMPRESSION = 0.3
_NUM_DILATIONS = 6
_KEY_SIZE = 4
_NUM_SPEAKERS = 2


class AttentiveGrid(nn.Module):  # type: ignore[misc]
    """A network from mixtures, float32 [batch, samples], to speakers, [batch, 2, samples]."""

    def __init__(
        self,
        frame_length: int,
        frame_step: int,
        band_width: int,
        num_filters: int,
        num_hidden: int,
        num_blocks: int,
        num_heads: int,
    ) -> None:
        super().__init__()
        self._frame_length, self._frame_step = frame_length, frame_step
        self._num_bins, self._band_width = frame_length // 2 + 1, band_width
        self._num_bands = -(-self._num_bins // band_width)
        # Three frames, of each a band and half a band on either side, with three features a bin.
        self.encoder = _weight(3, 2 * band_width, 3, num_filters)
        self.encoder_bias = _zeros(num_filters)
        self.place = nn.Parameter(0.1 * torch.randn(self._num_bands, num_filters))
        layers: list[_Layer] = []
        for block in range(num_blocks):
            layers += [
                _BandAttention(num_filters, num_heads),
                _Convolution(num_filters, num_hidden, axis=2, dilation=1),
                *(
                    _Convolution(
                        num_filters, num_hidden, axis=1, dilation=2 ** (number % _NUM_DILATIONS)
                    )
                    for number in (2 * block, 2 * block + 1)
                ),
                _FrameAttention(num_filters, num_heads),
            ]
        self.layers = nn.ModuleList(layers)
        self.gains = nn.Parameter(torch.ones(num_filters))
        self.decoder = _weight(num_filters, band_width * _NUM_SPEAKERS * 2)
        self.decoder_bias = _zeros(band_width * _NUM_SPEAKERS * 2)
        # Layers in a few passes over memory each, for GPUs; see `kernels`.
        self.is_fused = False

    def forward(self, mixture: Tensor) -> Tensor:
        """Separates mixtures, float32 [batch, samples], into float32 [batch, 2, samples]."""
        length, step, num_samples = self._frame_length, self._frame_step, mixture.shape[1]
        edge = length - step
        level = mixture.square().mean(dim=1, keepdim=True).sqrt() + _EPSILON
        padded = F.pad(mixture / level, (edge, edge + -num_samples % step))
        window = torch.hann_window(length, device=mixture.device)
        spectrogram = torch.fft.rfft(padded.unfold(1, length, step) * window)
        # Without a cache of weights, which a CUDA graph would keep from an earlier step.
        with torch.autocast(
            mixture.device.type, torch.bfloat16, enabled=mixture.is_cuda, cache_enabled=False
        ):
            masks = self._masks(spectrogram)
        separated = torch.view_as_complex(masks.float().contiguous()) * spectrogram[..., None]
        waveforms = self._inverse_stft(separated.movedim(-1, 1), window)
        return waveforms[..., edge : edge + num_samples] * level[:, None]

    def weights(self) -> list[nn.Parameter]:
        """Returns the weights in the order of the network in TensorFlow."""
        weights = [self.encoder, self.encoder_bias, self.place]
        for layer in self.layers:
            weights += layer.parameters()
        return [*weights, self.gains, self.decoder, self.decoder_bias]

    @torch.no_grad()  # type: ignore[misc]
    def set_weights(self, arrays: Sequence[Any]) -> None:
        """Takes weights over, NumPy arrays as `weights` orders them."""
        for weight, array in zip(self.weights(), arrays, strict=True):
            weight.copy_(torch.from_numpy(array))

    def _masks(self, spectrogram: Tensor) -> Tensor:
        """Estimates complex masks.

        Args:
            spectrogram: complex64 [batch, frames, bins].

        Returns:
            Real and imaginary parts, [batch, frames, bins, speakers, 2].
        """
        magnitude = spectrogram.abs() + _EPSILON
        compressed = magnitude**_COMPRESSION
        scaled = spectrogram * (compressed / magnitude)
        features = torch.stack([scaled.real, scaled.imag, compressed], dim=-1)
        width, num_bands = self._band_width, self._num_bands
        below = width // 2
        above = (num_bands + 1) * width - below - self._num_bins
        features = F.pad(features, (0, 0, below, above))
        features = features.unflatten(2, (num_bands + 1, width)).flatten(3)
        features = torch.cat([features[:, :, :-1], features[:, :, 1:]], dim=-1)
        around = _with_neighbours(features, axis=1, dilation=1)
        hidden = (around @ self.encoder.flatten(0, 2) + self.encoder_bias).float() + self.place
        if self.is_fused:
            hidden = hidden.to(torch.bfloat16 if hidden.is_cuda else torch.float32)
            for layer in self.layers:
                hidden = layer.fused(hidden)
        else:
            for layer in self.layers:
                hidden = hidden + layer(hidden)
        masks = _normalise(hidden, self.gains) @ self.decoder + self.decoder_bias
        masks = masks.unflatten(-1, (width, _NUM_SPEAKERS, 2)).flatten(2, 3)
        return masks[:, :, : self._num_bins]

    def _inverse_stft(self, spectrogram: Tensor, window: Tensor) -> Tensor:
        """Turns complex64 [batch, speakers, frames, bins] into [batch, speakers, samples]."""
        step = self._frame_step
        num_steps = self._frame_length // step
        total = window.square().reshape(num_steps, step).sum(dim=0).repeat(num_steps)
        frames = torch.fft.irfft(spectrogram, self._frame_length) * (window / total)
        frames = frames.unflatten(-1, (num_steps, step))
        num_frames = frames.shape[2]
        waveforms = frames.new_zeros((*frames.shape[:2], num_frames + num_steps - 1, step))
        for number in range(num_steps):
            waveforms[:, :, number : number + num_frames] += frames[:, :, :, number]
        return waveforms.flatten(2)


class _Layer(nn.Module):  # type: ignore[misc]
    """A layer of [batch, frames, bands, filters], whose parameters are in TensorFlow's order."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns what the layer adds to its inputs."""
        raise NotImplementedError

    def fused(self, inputs: Tensor) -> Tensor:
        """Returns the inputs and what the layer adds to them, by `kernels`."""
        raise NotImplementedError


class _Convolution(_Layer):
    """A dilated convolution along one axis."""

    def __init__(self, num_filters: int, num_hidden: int, axis: int, dilation: int) -> None:
        super().__init__()
        self._axis, self._dilation = axis, dilation
        self.gains = nn.Parameter(torch.ones(num_filters))
        # The axis of size 1 is that of bands, or of frames, which TensorFlow's convolutions have.
        self.kernel = _weight(*((3, 1) if axis == 1 else (1, 3)), num_filters, num_hidden)
        self.kernel_bias = _zeros(num_hidden)
        self.output = _weight(num_hidden, num_filters)
        self.output_bias = _zeros(num_filters)

    def forward(self, inputs: Tensor) -> Tensor:
        around = _with_neighbours(_normalise(inputs, self.gains), self._axis, self._dilation)
        hidden = around @ self.kernel.flatten(0, 2) + self.kernel_bias
        return F.relu(hidden) @ self.output + self.output_bias

    def fused(self, inputs: Tensor) -> Tensor:
        kernel = self.kernel.flatten(0, 1)
        weights = self.gains, kernel, self.kernel_bias, self.output, self.output_bias
        return Convolve.apply(inputs, *weights, self._axis, self._dilation)


class _BandAttention(_Layer):
    def __init__(self, num_filters: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.gains = nn.Parameter(torch.ones(num_filters))
        self.projection = _weight(num_filters, 3 * num_filters)
        self.output = _weight(num_filters, num_filters)
        self.output_bias = _zeros(num_filters)

    def forward(self, inputs: Tensor) -> Tensor:
        heads = _normalise(inputs, self.gains) @ self.projection
        heads = heads.flatten(0, 1).unflatten(-1, (3, self._num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value)
        return seen.transpose(1, 2).reshape(inputs.shape) @ self.output + self.output_bias

    def fused(self, inputs: Tensor) -> Tensor:
        weights = self.gains, self.projection, self.output, self.output_bias
        return Attend.apply(inputs, *weights, self._num_heads)


class _FrameAttention(_Layer):
    def __init__(self, num_filters: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.gains = nn.Parameter(torch.ones(num_filters))
        self.keys = _weight(num_filters, 2 * num_heads * _KEY_SIZE)
        self.keys_bias = _zeros(2 * num_heads * _KEY_SIZE)
        self.values = _weight(num_filters, num_filters)
        self.values_bias = _zeros(num_filters)
        self.output = _weight(num_filters, num_filters)
        self.output_bias = _zeros(num_filters)

    def forward(self, inputs: Tensor) -> Tensor:
        normalised = _normalise(inputs, self.gains)
        query, key = (normalised @ self.keys + self.keys_bias).chunk(2, dim=-1)
        value = normalised @ self.values + self.values_bias
        seen = _attend_to_frames(*(self._split(part) for part in (query, key, value)))
        seen = seen.unflatten(-1, (inputs.shape[2], -1)).permute(1, 2, 3, 0, 4)
        return seen.reshape(inputs.shape) @ self.output + self.output_bias

    def fused(self, inputs: Tensor) -> Tensor:
        weights = torch.cat([self.keys, self.values], dim=1)
        biases = torch.cat([self.keys_bias, self.values_bias])
        projected = Project.apply(inputs, self.gains, weights, biases, self._num_heads)
        query, key, value = (
            part.unflatten(1, (*inputs.shape[:2], -1)).flatten(3) for part in projected
        )
        seen = _attend_to_frames(query, key, value).reshape(projected[2].shape)
        return Add.apply(inputs, seen, self.output, self.output_bias)

    def _split(self, inputs: Tensor) -> Tensor:
        """Turns [batch, frames, bands, heads * size] into [heads, batch, frames, bands * size]."""
        return inputs.unflatten(-1, (self._num_heads, -1)).permute(3, 0, 1, 2, 4).flatten(3)


def _attend_to_frames(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attends among frames, [heads, batch, frames, size]."""
    logits = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    return logits.softmax(dim=-1).to(value.dtype) @ value


def _normalise(inputs: Tensor, gains: Tensor) -> Tensor:
    mean_square = inputs.float().square().mean(dim=-1, keepdim=True)
    return inputs * torch.rsqrt(mean_square + 1e-5) * gains


def _with_neighbours(inputs: Tensor, axis: int, dilation: int) -> Tensor:
    """Joins each position's features, the last axis, with those before and after it on an axis."""
    size = inputs.shape[axis]
    padding = [0, 0] * (inputs.dim() - 1 - axis) + [dilation, dilation]
    padded = F.pad(inputs, padding)
    before, after = padded.narrow(axis, 0, size), padded.narrow(axis, 2 * dilation, size)
    return torch.cat([before, inputs, after], dim=-1)


def _weight(*shape: int) -> nn.Parameter:
    """Returns a random matrix, the last axis being its outputs, as `nn.Linear` begins."""
    limit = 1 / math.sqrt(math.prod(shape[:-1]))
    return nn.Parameter(torch.empty(shape).uniform_(-limit, limit))


def _zeros(size: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(size))

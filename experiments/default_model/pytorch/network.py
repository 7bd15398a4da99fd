"""`joint.attentive_grid` in PyTorch, for two speakers and one channel."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# The same as in training.architectures.attentive_grid, which says what they are for.
_EPSILON = 1e-8
_COMPRESSION = 0.3
_NUM_DILATIONS = 6
_KEY_SIZE = 4
_NUM_SPEAKERS = 2

Weights = Iterator[npt.NDArray[np.float32]]


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
        self.encoder = nn.Linear(3 * 2 * band_width * 3, num_filters)
        self.place = nn.Parameter(0.1 * torch.randn(self._num_bands, num_filters))
        layers: list[nn.Module] = []
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
        self.normalisation = _Normalisation(num_filters)
        self.decoder = nn.Linear(num_filters, band_width * _NUM_SPEAKERS * 2)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separates mixtures, float32 [batch, samples], into float32 [batch, 2, samples]."""
        length, step, num_samples = self._frame_length, self._frame_step, mixture.shape[1]
        edge = length - step
        level = mixture.square().mean(dim=1, keepdim=True).sqrt() + _EPSILON
        padded = F.pad(mixture / level, (edge, edge + -num_samples % step))
        window = torch.hann_window(length, device=mixture.device)
        spectrogram = torch.fft.rfft(padded.unfold(1, length, step) * window)
        with torch.autocast(mixture.device.type, torch.bfloat16, enabled=mixture.is_cuda):
            masks = self._masks(spectrogram)
        separated = torch.view_as_complex(masks.float().contiguous()) * spectrogram[..., None]
        waveforms = self._inverse_stft(separated.movedim(-1, 1), window)
        return waveforms[..., edge : edge + num_samples] * level[:, None]

    def weights(self) -> Weights:
        """Yields the weights in the order, and with the axes, of the network in TensorFlow."""
        kernel = _array(self.encoder.weight)
        yield kernel.reshape(len(kernel), 3, -1, 3).transpose(1, 2, 3, 0)
        yield _array(self.encoder.bias)
        yield _array(self.place)
        for layer in self.layers:
            yield from layer.weights()
        yield _array(self.normalisation.gain)
        yield from _dense(self.decoder)

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
        hidden = self.encoder(_with_neighbours(features, axis=1, dilation=1)).float() + self.place
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        masks = self.decoder(self.normalisation(hidden))
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


class _Normalisation(nn.Module):  # type: ignore[misc]
    def __init__(self, num_filters: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(num_filters))

    def forward(self, inputs: Tensor) -> Tensor:
        mean_square = inputs.square().mean(dim=-1, keepdim=True)
        return inputs * torch.rsqrt(mean_square + 1e-5) * self.gain


class _Convolution(nn.Module):  # type: ignore[misc]
    """A dilated convolution along one axis of [batch, frames, bands, filters]."""

    def __init__(self, num_filters: int, num_hidden: int, axis: int, dilation: int) -> None:
        super().__init__()
        self._axis, self._dilation = axis, dilation
        self.normalisation = _Normalisation(num_filters)
        self.convolution = nn.Linear(3 * num_filters, num_hidden)
        self.output = nn.Linear(num_hidden, num_filters)

    def forward(self, inputs: Tensor) -> Tensor:
        around = _with_neighbours(self.normalisation(inputs), self._axis, self._dilation)
        return self.output(F.relu(self.convolution(around)))

    def weights(self) -> Weights:
        yield _array(self.normalisation.gain)
        kernel = _array(self.convolution.weight).T
        kernel = kernel.reshape(3, -1, kernel.shape[1])
        yield np.expand_dims(kernel, 2 - self._axis)
        yield _array(self.convolution.bias)
        yield from _dense(self.output)


class _BandAttention(nn.Module):  # type: ignore[misc]
    def __init__(self, num_filters: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.normalisation = _Normalisation(num_filters)
        self.projection = nn.Linear(num_filters, 3 * num_filters, bias=False)
        self.output = nn.Linear(num_filters, num_filters)

    def forward(self, inputs: Tensor) -> Tensor:
        heads = self.projection(self.normalisation(inputs))
        heads = heads.flatten(0, 1).unflatten(-1, (3, self._num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value)
        return self.output(seen.transpose(1, 2).reshape(inputs.shape))

    def weights(self) -> Weights:
        yield _array(self.normalisation.gain)
        yield from _dense(self.projection)
        yield from _dense(self.output)


class _FrameAttention(nn.Module):  # type: ignore[misc]
    def __init__(self, num_filters: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.normalisation = _Normalisation(num_filters)
        self.keys = nn.Linear(num_filters, 2 * num_heads * _KEY_SIZE)
        self.values = nn.Linear(num_filters, num_filters)
        self.output = nn.Linear(num_filters, num_filters)

    def forward(self, inputs: Tensor) -> Tensor:
        normalised = self.normalisation(inputs)
        query, key = self.keys(normalised).chunk(2, dim=-1)
        query, key, value = (self._split(part) for part in (query, key, self.values(normalised)))
        logits = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        seen = logits.softmax(dim=-1).to(value.dtype) @ value
        seen = seen.unflatten(-1, (inputs.shape[2], -1))
        return self.output(seen.permute(0, 2, 3, 1, 4).reshape(inputs.shape))

    def _split(self, inputs: Tensor) -> Tensor:
        """Turns [batch, frames, bands, heads * size] into [batch, heads, frames, bands * size]."""
        heads = inputs.unflatten(-1, (self._num_heads, -1))
        return heads.permute(0, 3, 1, 2, 4).flatten(3)

    def weights(self) -> Weights:
        yield _array(self.normalisation.gain)
        for layer in (self.keys, self.values, self.output):
            yield from _dense(layer)


def _with_neighbours(inputs: Tensor, axis: int, dilation: int) -> Tensor:
    """Joins each position's features, the last axis, with those before and after it on an axis."""
    size = inputs.shape[axis]
    padding = [0, 0] * (inputs.dim() - 1 - axis) + [dilation, dilation]
    padded = F.pad(inputs, padding)
    before, after = padded.narrow(axis, 0, size), padded.narrow(axis, 2 * dilation, size)
    return torch.cat([before, inputs, after], dim=-1)


def _dense(layer: nn.Linear) -> Weights:
    yield _array(layer.weight).T
    if layer.bias is not None:
        yield _array(layer.bias)


def _array(parameter: Tensor) -> Any:
    return parameter.detach().float().cpu().numpy()

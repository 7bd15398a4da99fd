"""Resampling of signals that arrive in blocks."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr

from schemas.pcm import Samples


def resampler(
    from_rate: int, to_rate: int, num_channels: int, num_samples: int
) -> Callable[[Samples, bool], Samples]:
    """Returns a function that resamples a signal block by block.

    Args:
        from_rate: sample rate of the signal, in Hz.
        to_rate: sample rate of the result, in Hz.
        num_channels: channels of both.
        num_samples: total length of the result; it is cut or padded with zeros to match.

    Returns:
        A function of a block, float32 [samples, channels], and whether it is the last one. It
        returns the samples that are ready, float32 [samples, channels].
    """
    stream = soxr.ResampleStream(from_rate, to_rate, num_channels) if from_rate != to_rate else None
    num_left = num_samples

    def resample(block: Samples, last: bool) -> Samples:
        nonlocal num_left
        if stream is not None:
            block = stream.resample_chunk(np.ascontiguousarray(block), last)
        if last and len(block) < num_left:
            block = np.pad(block, ((0, num_left - len(block)), (0, 0)))
        block = block[:num_left]
        num_left -= len(block)
        return block

    return resample


def resample_blocks(
    blocks: Iterable[Samples], from_rate: int, to_rate: int, num_channels: int, num_samples: int
) -> Iterator[Samples]:
    """Yields a signal's blocks resampled, as `resampler` does; there must be at least one block."""
    resample = resampler(from_rate, to_rate, num_channels, num_samples)
    blocks = iter(blocks)
    block = next(blocks)
    for following in blocks:
        yield resample(block, False)
        block = following
    yield resample(block, True)

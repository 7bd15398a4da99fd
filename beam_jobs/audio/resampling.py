"""Resampling a signal that comes in blocks."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import soxr

from schemas.pcm import Samples


def resampler(
    from_rate: int, to_rate: int, num_channels: int, num_samples: int
) -> Callable[[Samples, bool], Samples]:
    """A function of (block, whether it is the last) that returns `num_samples` in all."""
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
    """Yields what `resampler` makes of a signal's blocks, of which there is at least one."""
    resample = resampler(from_rate, to_rate, num_channels, num_samples)
    blocks = iter(blocks)
    block = next(blocks)
    for following in blocks:
        yield resample(block, False)
        block = following
    yield resample(block, True)

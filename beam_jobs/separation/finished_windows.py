"""Windows of finished outputs, each with the same time of their recording."""

from collections.abc import Iterable, Iterator

from beam_jobs.separation.windows import Framing, cut_windows
from schemas.pcm import Samples

# Whole seconds, which are whole samples at any rate.
_WINDOW_S, _HOP_S = 8, 7


def framing_at(sample_rate: int) -> Framing:
    """Returns the framing of these windows at a rate."""
    context = sample_rate // 4
    return Framing(
        length=_WINDOW_S * sample_rate,
        hop=_HOP_S * sample_rate,
        context=context,
        fade=(_WINDOW_S - _HOP_S) * sample_rate - 2 * context,
    )


def cut_together(
    blocks: Iterable[Samples],
    recording: Iterable[Samples],
    rates: tuple[int, int],
    num_frames: int,
) -> Iterator[tuple[Samples, Samples, bool]]:
    """Cuts outputs and their recording into windows.

    Args:
        blocks: the outputs, float32 [sources, samples, channels], at least one.
        recording: float32 [samples, channels].
        rates: of the outputs and of the recording, in Hz.
        num_frames: the length of the recording.

    Yields:
        The outputs, float32 [sources, length, channels], the recording, float32 [length,
        channels], and whether it is the last window.
    """
    blocks = iter(blocks)
    first = next(blocks)
    num_sources, _, num_channels = first.shape

    def columns() -> Iterator[Samples]:
        yield _in_columns(first)
        yield from map(_in_columns, blocks)

    # As many windows as the recording has.
    num_samples = -(-num_frames * rates[0] // rates[1])
    framings = [framing_at(rate) for rate in rates]
    windows = zip(
        cut_windows(columns(), num_samples, framings[0]),
        cut_windows(recording, num_frames, framings[1]),
        strict=True,
    )
    num_left = framings[1].num_windows(num_frames)
    for outputs, window in windows:
        num_left -= 1
        apart = outputs.reshape(-1, num_sources, num_channels).transpose(1, 0, 2)
        yield apart, window, num_left == 0


def _in_columns(block: Samples) -> Samples:
    return block.transpose(1, 0, 2).reshape(block.shape[1], -1)

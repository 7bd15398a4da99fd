"""The order of the outputs of a window, which may change in the middle of it."""

from collections.abc import Sequence

import numpy as np

from beam_jobs.audio.activity import FRAME_S
from beam_jobs.separation.held_windows import Levels
from beam_jobs.separation.windows import Framing
from schemas.pcm import Samples

Order = tuple[int, ...]
"""For each voice, or each track, the output that has it."""

Changes = tuple[tuple[int, Order], ...]
"""The orders of a window, each from a frame of 20 ms on, ascending from frame 0."""

_FADE_S = 0.02


def arrange(window: Samples, changes: Changes, sample_rate: int) -> Samples:
    """Puts the outputs of a window in the order of the voices.

    Args:
        window: float32 [sources, length, channels].
        changes: of the window.
        sample_rate: in Hz.

    Returns:
        float32 [voices, length, channels]; an order fades over to the next one in 20 ms.
    """
    arranged = window[list(changes[0][1])]
    frame_length = round(FRAME_S * sample_rate)
    ramp = np.linspace(0, 1, round(_FADE_S * sample_rate), dtype=np.float32)[:, np.newaxis]
    for frame, order in changes[1:]:
        start = frame * frame_length
        after = window[list(order), start:]
        rise = ramp[: after.shape[1]]
        faded = arranged[:, start : start + len(rise)] * (1 - rise) + after[:, : len(rise)] * rise
        arranged[:, start:] = after
        arranged[:, start : start + len(rise)] = faded
    return arranged


def arrange_levels_db(
    levels_db: Levels, changes: Sequence[Changes], framing: Framing, sample_rate: int
) -> Levels:
    """Returns the level of each voice in each frame of the recording, float32 [voices, frames].

    Args:
        levels_db: of the outputs, float32 [windows, sources, frames].
        changes: of the windows.
        framing: of the windows.
        sample_rate: in Hz.
    """
    num_windows, num_sources, num_frames = levels_db.shape
    frame_length = round(FRAME_S * sample_rate)
    total = ((num_windows - 1) * framing.hop) // frame_length + num_frames
    samples = (np.arange(total) + 0.5) * frame_length
    windows = np.clip(framing.window_of(samples), 0, num_windows - 1)
    frames = ((samples - windows * framing.hop) // frame_length).astype(int)
    orders = np.empty((num_windows, num_sources, num_frames), np.int64)
    for window, own in enumerate(changes):
        for start, order in own:
            orders[window, :, start:] = np.array(order)[:, np.newaxis]
    arranged = np.take_along_axis(levels_db, orders, axis=1)
    return arranged[windows, :, np.clip(frames, 0, num_frames - 1)].T

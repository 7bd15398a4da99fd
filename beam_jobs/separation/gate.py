"""A gate that silences each voice of a recording where its speaker does not speak."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import FRAME_S, find_active, find_stretches
from schemas.pcm import Samples

# Soft consonants at either end of a turn are below the level from which speech is found.
_MARGIN_S = 0.1
_FADE_S = 0.02


class Gate:
    """A gate for the voices of a recording, which come in blocks."""

    def __init__(self, levels_db: npt.NDArray[np.float32], sample_rate: int) -> None:
        """Takes what is known of the whole recording.

        Args:
            levels_db: of each voice in each frame of 20 ms, in dBFS, float32 [voices, frames].
            sample_rate: of the blocks, in Hz.
        """
        self._corners = [
            _find_corners(find_stretches(active), sample_rate) for active in find_active(levels_db)
        ]
        self._position = 0

    def apply(self, block: Samples) -> Samples:
        """Returns the next block with silence where nobody speaks.

        Args:
            block: of the voices, float32 [voices, samples, channels].
        """
        times = np.arange(self._position, self._position + block.shape[1])
        self._position += block.shape[1]
        gains = [np.interp(times, corners, levels) for corners, levels in self._corners]
        return block * np.stack(gains).astype(np.float32)[:, :, np.newaxis]


def _find_corners(
    stretches: Sequence[tuple[int, int]], sample_rate: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Finds the corners of a gain that is 1 in stretches of frames and fades to 0 around them.

    The pauses between stretches are longer than two margins with their fades.

    Returns:
        The positions of the corners in samples, ascending, and the gain at each.
    """
    frame_length = round(FRAME_S * sample_rate)
    margin, fade = _MARGIN_S * sample_rate, _FADE_S * sample_rate
    # Before all others, and there for a voice that never speaks, too.
    positions, gains = [-margin - fade - 1], [0.0]
    for start, stop in stretches:
        low, high = start * frame_length - margin, stop * frame_length + margin
        positions += [low - fade, low, high, high + fade]
        gains += [0.0, 1.0, 1.0, 0.0]
    return np.array(positions), np.array(gains)

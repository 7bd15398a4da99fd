"""Tracks: the outputs of a recording's windows, each continued where the next window takes over.

Windows overlap. Around the moment in whose middle one window hands over to the next, both have the
same speech in their outputs, in whatever order. So the outputs that sound the same there are put
together, and a track goes on from window to window as long as somebody speaks. In a pause nothing
is the same, and a track may go on with another voice.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from beam_jobs.audio.activity import FRAME_S
from beam_jobs.separation.held_windows import HeldWindows
from beam_jobs.separation.window_orders import Order, arrange_levels_db
from beam_jobs.separation.windows import Framing
from schemas.pcm import Samples

# Before and after a window hands over, outputs are compared for so long.
_COMPARED_S = 0.5


class Tracks:
    """The tracks of a recording.

    All frames are of 20 ms and of the recording: frame 0 is the first one of the first window.

    Attributes:
        outputs: of each window, the output that each track goes on with.
        levels_db: of each track in each frame, float32 [tracks, frames].
    """

    def __init__(
        self, held: HeldWindows, framing: Framing, orders: npt.NDArray[np.int64], sample_rate: int
    ) -> None:
        """Follows the outputs from window to window.

        Args:
            held: the outputs of all windows.
            framing: of the windows.
            orders: all orders of outputs, int64 [orders, outputs].
            sample_rate: of the windows, in Hz.
        """
        self._held = held
        self._framing = framing
        self._orders = orders
        self._frame_length = round(FRAME_S * sample_rate)
        self._recent: dict[int, Samples] = {}
        handovers = np.arange(1, len(held)) * framing.hop + framing.handover
        end = (len(held) - 1) * framing.hop + framing.length
        # The sample at which each window takes over, and the end of the last one.
        self._bounds: list[int] = [0, *handovers.tolist(), end]
        compared = round(_COMPARED_S * sample_rate)
        first: Order = tuple(range(orders.shape[1]))
        outputs = [first]
        for window in range(1, len(held)):
            start = max(self._bounds[window] - compared, self._heard(window)[0])
            stop = min(self._bounds[window] + compared, self._heard(window - 1)[1])
            before = self._audio(window - 1, start, stop)[list(outputs[-1])]
            outputs.append(self._match(before, self._audio(window, start, stop), first))
        self.outputs = tuple(outputs)
        self.levels_db = arrange_levels_db(
            held.levels_db, [((0, one),) for one in outputs], framing, sample_rate
        )

    def read(self, start: int, stop: int) -> Samples:
        """Returns the audio of all tracks, mixed to one channel.

        Args:
            start: the first frame.
            stop: the frame after the last.

        Returns:
            float32 [tracks, frames, samples].
        """
        at, end = start * self._frame_length, stop * self._frame_length
        parts = []
        window = int(np.searchsorted(self._bounds, at, side="right")) - 1
        while at < end:
            until = min(end, self._bounds[window + 1])
            parts.append(self._audio(window, at, until)[list(self.outputs[window])])
            at, window = until, window + 1
        audio: Samples = np.concatenate(parts, axis=1)
        return audio.reshape(len(audio), stop - start, self._frame_length)

    def follow(self, window: int, borders: Sequence[int]) -> Iterator[tuple[int, int, Order]]:
        """Finds the tracks in the outputs of a window, wherever the window is heard.

        Before and after it is the window in whose middle the recording is, its outputs need not go
        on as they do there: they are compared with the tracks between any two borders.

        Args:
            window: its number.
            borders: frames between which tracks are one voice each, ascending from 0 to the end.

        Yields:
            From which frame of the window on, between which of the borders, and for each track
            its output.
        """
        heard = self._heard(window)
        for middle in range(max(window - 1, 0), min(window + 2, len(self._held))):
            low = max(heard[0], self._bounds[middle])
            high = min(heard[1], self._bounds[middle + 1])
            number = int(np.searchsorted(borders, low // self._frame_length, side="right")) - 1
            while low < high and number < len(borders) - 1:
                until = min(high, borders[number + 1] * self._frame_length)
                outputs = self.outputs[window]
                if middle != window:
                    tracks = self._audio(middle, low, until)[list(self.outputs[middle])]
                    outputs = self._match(tracks, self._audio(window, low, until), outputs)
                # The frames of windows may be part of a frame off those of the recording.
                frame = -(-(low - window * self._framing.hop) // self._frame_length)
                yield frame, number, outputs
                low, number = until, number + 1

    def _heard(self, window: int) -> tuple[int, int]:
        """Between which samples of the recording a window is heard."""
        start = window * self._framing.hop
        stop = start + self._framing.length
        context = self._framing.context
        return (
            start + context * (window > 0),
            stop - context * (window < len(self._held) - 1),
        )

    def _audio(self, window: int, start: int, stop: int) -> Samples:
        """Returns the outputs of a window between two samples of the recording, in one channel."""
        if window not in self._recent:
            self._recent[window] = self._held[window].mean(axis=2)
            for far in [one for one in self._recent if abs(one - window) > 1]:
                del self._recent[far]
        offset = window * self._framing.hop
        return self._recent[window][:, start - offset : stop - offset]

    def _match(self, tracks: Samples, outputs: Samples, otherwise: Order) -> Order:
        """Finds the output that sounds like each track; as they were, where nothing tells.

        Args:
            tracks: float32 [tracks, samples].
            outputs: float32 [outputs, samples], at the same time.
            otherwise: the outputs of the tracks at other times.
        """
        products = tracks @ outputs.T
        totals = products[np.arange(len(tracks)), self._orders].sum(axis=1)
        best = self._orders[totals.argmax()]
        if totals.max() > products[np.arange(len(tracks)), list(otherwise)].sum():
            return tuple(best.tolist())
        return otherwise

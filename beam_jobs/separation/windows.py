"""Cutting a signal into overlapping windows and joining what a model made of them."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from schemas.pcm import Samples

# The share of a window's trusted middle that is faded over to the next one: a short fade costs
# little, but a joint model's outputs need a long one to be recognised by.
_ALIGNED_FADE = 0.125
_JOINT_FADE = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Framing:
    """How a signal is cut into windows, and how their outputs are joined; all in samples.

    Attributes:
        length: of a window.
        hop: from the start of one window to the start of the next.
        lead: zeros that come before the signal.
        tail: how much at the end of each window is complete only with the next window.
        context: how much at each edge of a window that has a neighbour there is dropped.
        fade: how much after that fades over from one window to the next.
    """

    length: int
    hop: int
    lead: int = 0
    tail: int = 0
    context: int = 0
    fade: int = 0

    @property
    def overlap(self) -> slice:
        """Where a window holds what the one before it holds at `overlap_before`, both trusted."""
        return slice(self.context, self.context + self.fade)

    @property
    def overlap_before(self) -> slice:
        """Where a window holds what the one after it holds at `overlap`."""
        return slice(self.hop + self.context, self.hop + self.context + self.fade)

    @property
    def fades(self) -> bool:
        """Whether outputs count less than all at the edges of a window."""
        return bool(self.context or self.fade)

    def num_windows(self, num_samples: int) -> int:
        """How many windows a signal takes."""
        beyond_first = self.lead + num_samples - (self.length - self.tail)
        return 1 + max(0, -(-beyond_first // self.hop))

    def weights(self, *, first: bool, last: bool) -> Samples:
        """float32 [length]: what a window's output counts; with its neighbours' it sums to 1.

        Where the model's own synthesis windows do that (`fade` 0), it is 1 everywhere.
        """
        weights = np.ones(self.length, np.float32)
        rise = np.sin(np.pi / 2 * (np.arange(self.fade) + 0.5) / max(self.fade, 1)) ** 2
        if not first:
            weights[: self.context] = 0
            weights[self.overlap] = rise
        if not last:
            stop = self.length - self.context
            weights[stop:] = 0
            weights[stop - self.fade : stop] = rise[::-1]
        return weights


def spleeter_framing(frame_length: int, frame_step: int, num_frames: int) -> Framing:
    """The windows that Spleeter's network sees: its STFT's frames, `num_frames` at a time.

    Spleeter puts `frame_length` zeros before the file, and adds up what the inverse STFT makes of
    each frame. So adding up what it makes of each window's frames gives the same.
    """
    return Framing(
        length=(num_frames - 1) * frame_step + frame_length,
        hop=num_frames * frame_step,
        lead=frame_length,
        tail=frame_length - frame_step,
    )


def crossfade_framing(length: int, context: int, *, aligned: bool) -> Framing:
    """Windows of a model of waveforms, faded over from one to the next.

    Args:
        length: of a window.
        context: how much at each edge is not to be trusted.
        aligned: whether each output means the same in every window; if not, the overlap is long.
    """
    trusted = length - 2 * context
    fade = int(trusted * (_ALIGNED_FADE if aligned else _JOINT_FADE))
    return Framing(length=length, hop=trusted - fade, context=context, fade=fade)


def cut_windows(blocks: Iterable[Samples], num_samples: int, framing: Framing) -> Iterator[Samples]:
    """Cuts a signal, which comes in blocks of any size, into windows.

    Args:
        blocks: float32 [samples, channels], `num_samples` in all.
        num_samples: the length of the signal.
        framing: how it is cut.

    Yields:
        float32 [length, channels], the last one filled up with zeros.
    """
    pending: list[Samples] = []
    num_pending = 0
    num_left = framing.num_windows(num_samples)
    for block in blocks:
        if not pending:
            pending = [np.zeros((framing.lead, block.shape[1]), np.float32)]
            num_pending = framing.lead
        pending.append(block)
        num_pending += len(block)
        while num_pending >= framing.length and num_left:
            signal = np.concatenate(pending)
            yield signal[: framing.length]
            num_left -= 1
            pending = [signal[framing.hop :]]
            num_pending = len(pending[0])
    signal = np.concatenate(pending)
    for _ in range(num_left):
        window = np.zeros((framing.length, signal.shape[1]), np.float32)
        window[: len(signal)] = signal[: framing.length]
        yield window
        signal = signal[framing.hop :]


class OverlapAdd:
    """Joins the outputs of a signal's windows, in order, in memory that does not grow."""

    def __init__(self, framing: Framing, num_samples: int) -> None:
        self._framing = framing
        self._num_windows = framing.num_windows(num_samples)
        self._num_left = num_samples
        self._num_to_skip = framing.lead
        self._next = 0
        self._sum: Samples | None = None

    def add(self, output: Samples) -> Samples:
        """Adds the next window's output and returns what no later window changes.

        Args:
            output: float32 [sources, length, channels]; where nothing fades, it is written to.

        Returns:
            float32 [sources, samples, channels]; all calls together return `num_samples`.
        """
        framing = self._framing
        first, last = self._next == 0, self._next == self._num_windows - 1
        self._next += 1
        weighted = output
        if framing.fades:
            weighted = output * framing.weights(first=first, last=last)[:, np.newaxis]
        if self._sum is not None:
            shared = framing.length - framing.hop
            weighted[:, :shared] += self._sum
        self._sum = weighted[:, framing.hop :].copy()
        done = weighted if last else weighted[:, : framing.hop]
        done = done[:, self._num_to_skip :][:, : self._num_left]
        self._num_to_skip = max(0, self._num_to_skip - framing.hop)
        self._num_left -= done.shape[1]
        return done

"""Cutting a signal into overlapping windows, and joining the outputs of a model for them."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from schemas.pcm import Samples

# The part of a window's trusted middle that fades into the next window. A short fade costs little
# time, but outputs that may swap are recognised by what both windows have in it.
_ALIGNED_FADE = 0.125
_JOINT_FADE = 1 / 3


@dataclasses.dataclass(frozen=True, slots=True)
class Framing:
    """The lengths by which a signal is cut into windows and their outputs are joined, in samples.

    Attributes:
        length: of a window.
        hop: from the start of one window to the start of the next.
        lead: zeros before the signal.
        tail: the end of a window that is only complete after the next one is added.
        context: dropped at each edge of a window that has a neighbour there.
        fade: after the context, fades from one window into the next.
    """

    length: int
    hop: int
    lead: int = 0
    tail: int = 0
    context: int = 0
    fade: int = 0

    @property
    def overlap(self) -> slice:
        """The part of a window into which the window before it fades, both trusted."""
        return slice(self.context, self.context + self.fade)

    @property
    def fades(self) -> bool:
        """True if outputs are weighted less at the edges of a window."""
        return bool(self.context or self.fade)

    @property
    def handover(self) -> int:
        """The sample of a window at which it takes over from the one before it: in mid-fade."""
        return self.context + self.fade // 2

    def window_of(self, samples: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns the window in whose middle each sample is, as if there were windows without end.

        Args:
            samples: counted from the start of the first window.
        """
        return ((samples - self.handover) // self.hop).astype(np.int64)

    def num_windows(self, num_samples: int) -> int:
        """Returns the number of windows that cover a signal."""
        beyond_first = self.lead + num_samples - (self.length - self.tail)
        return 1 + max(0, -(-beyond_first // self.hop))

    def weights(self, *, first: bool, last: bool) -> Samples:
        """Returns the weights of a window's output, float32 [length].

        Those of overlapping windows add up to 1. They are all 1 if there is neither context nor
        fade: then the model's own synthesis windows add up.

        Args:
            first: whether it is the first window of the signal.
            last: whether it is the last one.
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
    """Returns the framing of Spleeter: each window is `num_frames` frames of its STFT.

    Spleeter puts `frame_length` zeros before a file, and adds up the inverse STFT's frames. Adding
    up the outputs of windows, which are sums of their frames, gives the same.

    Args:
        frame_length: of the STFT, in samples.
        frame_step: from one frame to the next, in samples.
        num_frames: that the network sees at once.
    """
    return Framing(
        length=(num_frames - 1) * frame_step + frame_length,
        hop=num_frames * frame_step,
        lead=frame_length,
        tail=frame_length - frame_step,
    )


def crossfade_framing(length: int, context: int, *, aligned: bool) -> Framing:
    """Returns the framing of a model of waveforms, whose windows fade into each other.

    Args:
        length: of a window, in samples.
        context: at each edge, too close to it to be trusted, in samples.
        aligned: whether an output is the same source in every window; if not, the fade is long.
    """
    trusted = length - 2 * context
    fade = int(trusted * (_ALIGNED_FADE if aligned else _JOINT_FADE))
    return Framing(length=length, hop=trusted - fade, context=context, fade=fade)


def cut_windows(blocks: Iterable[Samples], num_samples: int, framing: Framing) -> Iterator[Samples]:
    """Cuts a signal that comes in blocks of any size into windows.

    Args:
        blocks: float32 [samples, channels], at least one.
        num_samples: the length of all blocks together.
        framing: of the windows.

    Yields:
        float32 [length, channels], padded with zeros at the end of the signal.
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
    """Joins the outputs of a signal's windows as they come, in memory that does not grow."""

    def __init__(self, framing: Framing, num_samples: int) -> None:
        self._framing = framing
        self._num_windows = framing.num_windows(num_samples)
        self._num_left = num_samples
        self._num_to_skip = framing.lead
        self._next = 0
        self._sum: Samples | None = None

    def add(self, output: Samples) -> Samples:
        """Adds the output of the next window, and returns the samples that are complete now.

        Args:
            output: float32 [sources, length, channels]; overwritten if the framing does not fade.

        Returns:
            float32 [sources, samples, channels]; `num_samples` in all calls together.
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

"""Showing how far a job is: a bar on a terminal, and lines in a log."""

import dataclasses
import sys
import time
from types import TracebackType

from tqdm import tqdm

TERMINAL_INTERVAL_S = 0.5
LOG_INTERVAL_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        text: the numbers to show beside the percentage and the time left.
        done: what is done, in any unit that takes about the same time each.
        total: all there is to do, in the same unit; 0 where nobody knows yet.
        before: the part of `done` that an earlier run did, and that took no time in this one.
    """

    text: str
    done: float = 0.0
    total: float = 0.0
    before: float = 0.0


class ProgressBar:
    """A context that shows how far a job is, on standard error."""

    def __init__(self, *, leave: bool = True) -> None:
        """Starts to measure the time.

        Args:
            leave: whether the bar stays on the terminal in the end.
        """
        self._started_s = time.monotonic()
        self._shown_s = self._started_s
        self._shown: tuple[float, float] | None = None
        self._leave = leave
        self._bar: tqdm | None = None  # type: ignore[type-arg]

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def elapsed_s(self) -> float:
        """The time since the start, in seconds."""
        return time.monotonic() - self._started_s

    @property
    def interval_s(self) -> float:
        """How often the user wants to see something new, in seconds: less often in a long log."""
        if _is_terminal():
            return TERMINAL_INTERVAL_S
        return max(LOG_INTERVAL_S, self.elapsed_s / 60)

    def show(self, progress: Progress) -> None:
        """Shows how far the job is at this moment."""
        amounts = (progress.done, progress.total)
        if 0 < progress.total <= progress.done and amounts == self._shown:
            return
        self._shown = amounts
        text = f"{progress.text}{self._time_left(progress)}"
        if _is_terminal():
            self._draw(progress, text)
        elif progress.total:
            percentage = 100 * progress.done / progress.total
            print(f"{percentage:3.0f}% {text}", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def show_at_times(self, progress: Progress) -> None:
        """Shows how far the job is, unless it was shown only just before."""
        now_s = time.monotonic()
        if now_s - self._shown_s >= self.interval_s:
            self._shown_s = now_s
            self.show(progress)

    def _draw(self, progress: Progress, text: str) -> None:
        if self._bar is None:
            # tqdm draws at once, what it was told until then.
            self._bar = tqdm(total=1, leave=self._leave, dynamic_ncols=True, bar_format="{desc}")
        self._bar.bar_format = "{percentage:3.0f}%|{bar}| {desc}" if progress.total else "{desc}"
        self._bar.total = progress.total or None
        self._bar.n = progress.done
        self._bar.set_description_str(text)

    def _time_left(self, progress: Progress) -> str:
        if not progress.total:
            return ""
        done = progress.done - progress.before
        if done <= 0:
            return ", ? left"
        left_s = (progress.total - progress.done) * self.elapsed_s / done
        return f", {tqdm.format_interval(left_s)} left"


def _is_terminal() -> bool:
    # A command that was started without a standard error has None there.
    return sys.stderr is not None and sys.stderr.isatty()


def say(text: str) -> None:
    """Prints a line on standard error, not in the middle of a bar."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()

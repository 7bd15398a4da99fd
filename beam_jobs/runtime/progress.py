"""Watching a job while it runs, by the files that its workers leave.

They are on the job's own file system, so the progress looks the same with every runner.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

from beam_jobs.runtime.work_counts import WorkCounts, forget_counts, read_counts
from beam_jobs.storage import files
from command_line.progress import LOG_INTERVAL_S, Progress, ProgressBar


@contextlib.contextmanager
def watching(watch: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs a function in a thread beside the block, until it sees that the event is set."""
    stopped = threading.Event()
    watcher = threading.Thread(target=watch, args=(stopped,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()


def follow(
    look: Callable[[], Progress | None],
    bar: ProgressBar,
    stopped: threading.Event,
    *,
    folder: str,
) -> None:
    """Shows how far a job is until it stops, and in the end once more.

    Args:
        look: returns how far it is, or None as long as there is nothing to show.
        bar: shows it.
        stopped: is set when the job stops.
        folder: that it looks into, less often where each look goes over a network.
    """
    least_s = LOG_INTERVAL_S if files.is_remote(folder) else 0.0
    is_last_look = False
    while not is_last_look:
        is_last_look = stopped.wait(max(least_s, bar.interval_s))
        # Files of a job go when it ends, and a storage may be out of reach for a while.
        with contextlib.suppress(OSError):
            if progress := look():
                bar.show(progress)


@contextlib.contextmanager
def showing_counts(
    folder: str, describe: Callable[[WorkCounts, float], Progress]
) -> Iterator[None]:
    """Shows what the workers of a job count while the block runs it.

    Args:
        folder: where the counts are; they are removed in the end, and so are those of a run that
            was killed.
        describe: returns how far the job is, from the counts and the seconds since it started.
    """

    def watch(stopped: threading.Event) -> None:
        with ProgressBar() as bar:

            def look() -> Progress | None:
                counts = read_counts(folder)
                return describe(counts, bar.elapsed_s) if counts else None

            follow(look, bar, stopped, folder=folder)

    forget_counts(folder)
    try:
        with watching(watch):
            yield
    finally:
        forget_counts(folder)


def describe_work(
    counts: WorkCounts, elapsed_s: float, *, total: int, unit: str, rejected: str = "rejected"
) -> Progress:
    """Returns how far a job is that works on things of one kind.

    Args:
        counts: what is done.
        elapsed_s: the time that it took, in seconds.
        total: all there is to do.
        unit: the name of the things, in the plural.
        rejected: the word for those that can't be used.
    """
    done = min(counts.num_skipped + counts.num_done, total)
    text = (
        f"{done:,}/{total:,} {unit}, {counts.done_s / 3600:.2f} h of audio,"
        f" {counts.num_rejected:,} {rejected}, {counts.num_done / elapsed_s:.1f} {unit}/s"
    )
    return Progress(text, done, total, counts.num_skipped)

"""Showing the progress of a job on the terminal or in a log."""

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

from beam_jobs.corpora.catalogue import open_catalogue
from beam_jobs.corpora.search_progress import SearchCounts, read_search_counts
from beam_jobs.dataset.corpus_summary import describe_corpora
from beam_jobs.dataset.reading import read_quality
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measurements import parse_measurements
from beam_jobs.recipes.plan import NothingToDoError
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files
from schemas import dataset

_TERMINAL_INTERVAL_S = 0.5
_LOG_INTERVAL_S = 10.0

# Enough files of a corpus to call it unusable.
_MIN_REJECTED = 100


@contextlib.contextmanager
def show_progress(spec: DatasetSpec, *, renders: bool) -> Iterator[None]:
    """Shows the progress while the block runs: first of the catalogue, then of the mixtures.

    It is read from files that workers leave rather than from the runner, so it looks the same with
    every runner.

    Args:
        spec: the dataset.
        renders: whether the job goes on to mixtures after the catalogue.
    """
    stopped = threading.Event()
    watcher = threading.Thread(target=_watch, args=(spec, renders, stopped), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()


def _watch(spec: DatasetSpec, renders: bool, stopped: threading.Event) -> None:
    _watch_catalogue(spec, stopped)
    path = files.join(spec.folder, dataset.CATALOGUE)
    if not files.exists(path):
        return
    catalogue = open_catalogue(path)
    if len(catalogue):
        _say("\n".join(describe_corpora(spec, catalogue)))
    if renders:
        _watch_shards(spec, stopped)


def _watch_catalogue(spec: DatasetSpec, stopped: threading.Event) -> None:
    """Shows what workers have found and looked at, until the catalogue is there."""
    on_terminal = sys.stderr.isatty()
    interval_s = _TERMINAL_INTERVAL_S if on_terminal else _LOG_INTERVAL_S
    started_s = shown_s = time.monotonic()
    has_warned = False
    bar = tqdm(unit=" files", disable=not on_terminal, dynamic_ncols=True, leave=False)
    with bar:
        while not files.exists(files.join(spec.folder, dataset.CATALOGUE)):
            if stopped.wait(_TERMINAL_INTERVAL_S):
                return
            now_s = time.monotonic()
            try:
                counts = read_search_counts(spec.folder)
            except FileNotFoundError:
                # The files are removed once the job is done.
                continue
            if not has_warned and _all_rejected(counts):
                has_warned = True
                _say(f"all of the first files are rejected, {counts.rejected.describe()}")
            if now_s - shown_s < interval_s or not counts.num_found + counts.num_looked:
                continue
            shown_s = now_s
            note = f"{counts.num_found:,} found, {counts.rejected.counts.total():,} rejected"
            if on_terminal:
                bar.set_postfix_str(note, refresh=False)
                bar.update(counts.num_looked - bar.n)
            else:
                per_s = counts.num_looked / (now_s - started_s)
                _say(f"{counts.num_looked:,} files looked at, {note}, {per_s:,.0f} files/s")


def _all_rejected(counts: SearchCounts) -> bool:
    """Returns whether all of the first files are rejected, and all for one reason."""
    return (
        counts.num_looked >= _MIN_REJECTED
        and counts.num_looked == counts.rejected.counts.total()
        and len(counts.rejected.counts) == 1
    )


def _say(text: str) -> None:
    # Not in the middle of a bar.
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


def _watch_shards(spec: DatasetSpec, stopped: threading.Event) -> None:
    try:
        num_mixtures, num_shards = _totals(spec)
    except NothingToDoError:
        return
    done = _Done(spec)
    done.look()
    on_terminal = sys.stderr.isatty()
    initial, started_s = done.num_mixtures, time.monotonic()
    bar = tqdm(
        total=num_mixtures,
        initial=initial,
        unit=" mixtures",
        disable=not on_terminal,
        dynamic_ncols=True,
    )
    format_line = functools.partial(
        tqdm.format_meter,
        total=num_mixtures,
        initial=initial,
        unit=" mixtures",
        bar_format="{percentage:3.0f}% {n_fmt}/{total_fmt} mixtures{postfix},"
        " {rate_fmt}, {remaining} left",
    )
    # A small dataset may be finished before anyone looks: that is shown, too.
    is_last_look = done.num_shards >= num_shards
    interval_s = _TERMINAL_INTERVAL_S if on_terminal else _LOG_INTERVAL_S
    with bar:
        while True:
            is_last_look = is_last_look or stopped.wait(interval_s)
            done.look()
            note = f"{done.num_shards}/{num_shards} shards, {done.hours:.2f} h of audio"
            bar.set_postfix_str(note, refresh=False)
            bar.update(done.num_mixtures - bar.n)
            if not on_terminal:
                elapsed_s = time.monotonic() - started_s
                line = format_line(done.num_mixtures, elapsed=elapsed_s, postfix=note)
                print(line, file=sys.stderr, flush=True)
            if is_last_look or done.num_shards >= num_shards:
                return


def _totals(spec: DatasetSpec) -> tuple[int, int]:
    plan = spec.open_plan()
    return sum(plan.counts.values()), len(plan.shards)


class _Done:
    """Counts of what is finished, as of the last look at the folder."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._folder = spec.folder
        self._sample_rate = spec.plan_options.config.sample_rate
        self._seen: set[str] = set()
        self.num_shards = 0
        self.num_mixtures = 0
        self.hours = 0.0

    def look(self) -> None:
        # The files of finished shards are removed once the dataset is complete.
        with contextlib.suppress(FileNotFoundError):
            self._look_at_shards()
        if files.exists(files.join(self._folder, dataset.COMPLETED)):
            quality = read_quality(self._folder)
            self.num_shards = quality.num_shards
            self.num_mixtures = quality.num_mixtures
            self.hours = quality.mixture_hours

    def _look_at_shards(self) -> None:
        for path in files.list_paths(files.join(self._folder, PROGRESS), "*-of-?????.json"):
            if path not in self._seen:
                measurements = parse_measurements(files.read_text(path))
                self._seen.add(path)
                self.num_shards += 1
                self.num_mixtures += sum(info.num_mixtures for info in measurements.infos)
                self.hours += measurements.samples.total() / self._sample_rate / 3600

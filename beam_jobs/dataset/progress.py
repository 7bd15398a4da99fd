"""Showing the progress of a job on the terminal or in a log."""

import contextlib
import functools
import threading

from beam_jobs.dataset.corpus_summary import describe_corpora
from beam_jobs.dataset.reading import read_quality
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measurements import parse_measurements
from beam_jobs.recipes.plan import NothingToDoError
from beam_jobs.runtime.dead_letters import read_rejected
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.runtime.progress import follow, watching
from beam_jobs.runtime.work_counts import WorkCounts, read_counts
from beam_jobs.storage import files
from command_line.progress import TERMINAL_INTERVAL_S, Progress, ProgressBar, say
from schemas import dataset

# Enough files of a corpus to call it unusable.
_MIN_REJECTED = 100


def show_progress(spec: DatasetSpec, *, renders: bool) -> contextlib.AbstractContextManager[None]:
    """Shows the progress while the block runs: first of the catalogue, then of the mixtures.

    Args:
        spec: the dataset.
        renders: whether the job goes on to mixtures after the catalogue.
    """
    return watching(functools.partial(_watch, spec, renders))


def _watch(spec: DatasetSpec, renders: bool, stopped: threading.Event) -> None:
    _watch_catalogue(spec, stopped)
    path = files.join(spec.folder, dataset.CATALOGUE)
    if not files.exists(path):
        return
    catalogue = spec.open_catalogue()
    if len(catalogue):
        say("\n".join(describe_corpora(spec, catalogue)))
    if renders:
        _watch_shards(spec, stopped)


def _watch_catalogue(spec: DatasetSpec, stopped: threading.Event) -> None:
    """Shows what workers have found and looked at, until the catalogue is there."""
    has_warned = False
    with ProgressBar(leave=False) as bar:
        while not files.exists(files.join(spec.folder, dataset.CATALOGUE)):
            if stopped.wait(TERMINAL_INTERVAL_S):
                return
            try:
                counts = read_counts(files.join(spec.folder, PROGRESS))
            except FileNotFoundError:
                # The files are removed once the job is done.
                continue
            if counts is None:
                continue
            if not has_warned and _all_rejected(counts):
                has_warned = True
                say(f"all of the first files are rejected, {counts.rejected.describe()}")
            text = (
                f"{counts.num_looked:,} files looked at, {counts.num_found:,} found,"
                f" {counts.num_rejected:,} rejected,"
                f" {counts.num_looked / bar.elapsed_s:,.0f} files/s"
            )
            bar.show_at_times(Progress(text))


def _all_rejected(counts: WorkCounts) -> bool:
    """Returns whether all of the first files are rejected, and all for one reason."""
    return (
        counts.num_looked >= _MIN_REJECTED
        and counts.num_looked == counts.num_rejected
        and len(counts.rejected.counts) == 1
    )


def _watch_shards(spec: DatasetSpec, stopped: threading.Event) -> None:
    try:
        num_mixtures, num_shards = _totals(spec)
    except NothingToDoError:
        return
    done = _Done(spec)
    done.look()
    initial = done.num_mixtures
    with ProgressBar() as bar:

        def look() -> Progress:
            done.look()
            text = (
                f"{done.num_mixtures:,}/{num_mixtures:,} mixtures,"
                f" {done.num_shards:,}/{num_shards:,} shards, {done.hours:.2f} h of audio,"
                f" {done.num_rejected:,} rejected,"
                f" {(done.num_mixtures - initial) / bar.elapsed_s:.1f} mixtures/s"
            )
            return Progress(text, done.num_mixtures, num_mixtures, initial)

        follow(look, bar, stopped, folder=spec.folder)


def _totals(spec: DatasetSpec) -> tuple[int, int]:
    plan = spec.open_plan()
    return sum(plan.counts.values()), len(plan.shards)


class _Done:
    """Counts of what is finished, as of the last look at the folder."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._folder = spec.folder
        self._sample_rate = spec.plan_options.config.sample_rate
        self._seen: set[str] = set()
        self._rejected = self._read_rejected()
        self.num_shards = 0
        self.num_mixtures = 0
        self.hours = 0.0

    @property
    def num_rejected(self) -> int:
        return len(self._rejected)

    def look(self) -> None:
        # The files of finished shards are removed once the dataset is complete.
        with contextlib.suppress(FileNotFoundError):
            self._look_at_shards()
        if files.exists(files.join(self._folder, dataset.COMPLETED)):
            quality = read_quality(self._folder)
            self.num_shards = quality.num_shards
            self.num_mixtures = quality.num_mixtures
            self.hours = quality.mixture_hours
            self._rejected = self._read_rejected()

    def _read_rejected(self) -> set[str]:
        rejected = read_rejected(files.join(self._folder, dataset.REJECTED))
        return {one.path for one in rejected}

    def _look_at_shards(self) -> None:
        for path in files.list_paths(files.join(self._folder, PROGRESS), "*-of-?????.json"):
            if path not in self._seen:
                measurements = parse_measurements(files.read_text(path))
                self._seen.add(path)
                self._rejected |= {one.path for one in measurements.rejected}
                self.num_shards += 1
                self.num_mixtures += sum(info.num_mixtures for info in measurements.infos)
                self.hours += measurements.samples.total() / self._sample_rate / 3600

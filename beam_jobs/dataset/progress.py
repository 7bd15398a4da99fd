"""How far a job is, for whoever looks at the terminal or at the log."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measures import parse_quality
from beam_jobs.recipes.plan import NothingToDoError
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files
from schemas import dataset

_TERMINAL_INTERVAL_S = 0.5
_LOG_INTERVAL_S = 10.0


@contextlib.contextmanager
def show_progress(spec: DatasetSpec) -> Iterator[None]:
    """Shows, while the block runs, what the shards that are finished leave behind.

    It looks at the files and asks no runner, so it is the same with all of them.
    """
    stopped = threading.Event()
    watcher = threading.Thread(target=_watch, args=(spec, stopped), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()


def _watch(spec: DatasetSpec, stopped: threading.Event) -> None:
    while not files.exists(files.join(spec.folder, dataset.CATALOGUE)):
        if stopped.wait(_TERMINAL_INTERVAL_S):
            return
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
    is_last_look = False
    with bar:
        while done.num_shards < num_shards and not is_last_look:
            is_last_look = stopped.wait(_TERMINAL_INTERVAL_S if on_terminal else _LOG_INTERVAL_S)
            done.look()
            note = f"{done.num_shards}/{num_shards} shards, {done.hours:.2f} h of audio"
            bar.set_postfix_str(note, refresh=False)
            bar.update(done.num_mixtures - bar.n)
            if not on_terminal:
                line = tqdm.format_meter(
                    done.num_mixtures,
                    num_mixtures,
                    time.monotonic() - started_s,
                    initial=initial,
                    unit=" mixtures",
                    postfix=note,
                    bar_format="{percentage:3.0f}% {n_fmt}/{total_fmt} mixtures{postfix},"
                    " {rate_fmt}, {remaining} left",
                )
                print(line, file=sys.stderr, flush=True)


def _totals(spec: DatasetSpec) -> tuple[int, int]:
    plan = spec.open_plan()
    return sum(plan.counts.values()), len(plan.shards)


class _Done:
    """What is finished, as far as it was looked at."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._folder = spec.folder
        self._sample_rate = spec.plan_options.config.sample_rate
        self._seen: set[str] = set()
        self.num_shards = 0
        self.num_mixtures = 0
        self.hours = 0.0

    def look(self) -> None:
        # When the dataset is complete, what was on the way to it is removed.
        with contextlib.suppress(FileNotFoundError):
            self._look_at_shards()
        if files.exists(files.join(self._folder, dataset.COMPLETED)):
            quality = json.loads(files.read_text(files.join(self._folder, dataset.QUALITY)))
            self.num_shards = quality["num_shards"]
            self.num_mixtures = quality["num_mixtures"]
            self.hours = quality["mixture_hours"]

    def _look_at_shards(self) -> None:
        for path in files.list_paths(files.join(self._folder, PROGRESS), "*-of-?????.json"):
            if path not in self._seen:
                quality = parse_quality(files.read_text(path))
                self._seen.add(path)
                self.num_shards += 1
                self.num_mixtures += sum(info.num_mixtures for info in quality.infos)
                self.hours += quality.samples.total() / self._sample_rate / 3600

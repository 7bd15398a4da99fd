"""Describing a dataset before it is made: its plan, and a few mixtures rendered to time them."""

import contextlib
import dataclasses
import fcntl
import glob
import itertools
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.dataset.folder import check_writable, remove_dataset
from beam_jobs.dataset.outcome import describe_not_enrolled
from beam_jobs.dataset.shards import render_usable
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.plan import Draft, NothingToDoError, NoUtteranceLeftError, Plan
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import encode_mixture
from beam_jobs.rendering.scratch import Scratch
from beam_jobs.runtime.dead_letters import ReasonCounts, Rejected, read_rejected
from beam_jobs.storage import files
from schemas import dataset

# Enough mixtures for a mean, rendered in a second or two.
_NUM_SHARDS, _DRAFTS_PER_SHARD, _RENDERED_PER_SHARD = 16, 32, 2
_MAX_REJECTED_SHOWN = 20


@dataclasses.dataclass(frozen=True, slots=True)
class _Sample:
    """The means of a few mixtures.

    Attributes:
        mixture_s: the length of a mixture, in seconds.
        num_rendered: the mixtures that could be rendered.
        num_bytes: the size of a record.
        elapsed_s: the time that a mixture takes on one core, in seconds.
    """

    mixture_s: float
    num_rendered: int
    num_bytes: float
    elapsed_s: float


@contextlib.contextmanager
def dry_copy(spec: DatasetSpec, *, is_local: bool) -> Iterator[DatasetSpec]:
    """Yields the specification with another folder, which is removed when the block ends.

    Folders of killed dry runs are removed, too, except for those that workers elsewhere need in
    Cloud Storage, where nothing tells them from one that goes on.

    Args:
        spec: of the dataset.
        is_local: whether all workers are on this machine.

    Raises:
        OutputError: the folder of the dataset, or the other one, can't be written.
    """
    if is_local and files.is_remote(spec.folder):
        check_writable(spec.folder)
        with tempfile.TemporaryDirectory() as folder:
            yield dataclasses.replace(spec, folder=files.join(folder, "dry_run"))
        return
    # Next to the output, so that every worker can write there, and no folder that exists already.
    beginning = f"{spec.folder}.dry_run-"
    if not files.is_remote(beginning):
        for folder in glob.glob(f"{glob.escape(beginning)}*"):
            with contextlib.suppress(OSError), _locked(folder):
                _remove(folder)
    dry = dataclasses.replace(spec, folder=beginning + uuid.uuid4().hex[:8])
    check_writable(dry.folder)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, dry.folder)
        # Without a lock, as in some file systems of networks, nobody else gets one either.
        with contextlib.suppress(OSError):
            stack.enter_context(_locked(dry.folder))
        yield dry


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Locks a folder; a killed process holds no locks.

    Raises:
        OSError: another process has locked it, or the file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove(folder: str) -> None:
    remove_dataset(folder)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def describe_plan(spec: DatasetSpec) -> tuple[str, bool]:
    """Describes the dataset that a job would make.

    Args:
        spec: the dataset; there is a catalogue in its folder.

    Returns:
        The text to print, and whether every file can be used as far as is known.

    Raises:
        NothingToDoError: no mixtures can be made.
    """
    plan = spec.open_plan()
    catalogue = spec.open_catalogue()
    rejected = set(read_rejected(files.join(spec.folder, dataset.REJECTED)))
    sample = _take_sample(plan, spec, rejected)
    lines = [
        *_describe_corpora(spec, plan, catalogue),
        *_describe_mixtures(spec, plan, sample),
        *_describe_rejected(rejected),
    ]
    return "\n".join(lines), not rejected


def _take_sample(plan: Plan, spec: DatasetSpec, rejected: set[Rejected]) -> _Sample:
    """Looks at a few mixtures of shards from everywhere; adds what can't be used to `rejected`."""
    shards = plan.shards[:: -(-len(plan.shards) // _NUM_SHARDS)]
    drafts = [list(itertools.islice(plan.drafts(shard), _DRAFTS_PER_SHARD)) for shard in shards]
    durations_s = [draft.recipe.duration_s for of_shard in drafts for draft in of_shard]
    to_render = [draft for of_shard in drafts for draft in of_shard[:_RENDERED_PER_SHARD]]
    rendered = _render(to_render, plan, spec, rejected)
    num_rendered = len(rendered)
    return _Sample(
        mixture_s=sum(durations_s) / len(durations_s),
        num_rendered=num_rendered,
        num_bytes=sum(num_bytes for num_bytes, _ in rendered) / num_rendered,
        elapsed_s=sum(elapsed_s for _, elapsed_s in rendered) / num_rendered,
    )


def _render(
    drafts: Sequence[Draft], plan: Plan, spec: DatasetSpec, rejected: set[Rejected]
) -> list[tuple[int, float]]:
    """Returns the bytes and the seconds of each mixture that can be rendered."""
    reader, scratch = PartReader(spec.corpus_roots), Scratch()
    unusable: dict[int, Rejected] = {}
    rendered: list[tuple[int, float]] = []
    for draft in drafts:
        start_s = time.perf_counter()
        try:
            mixture, _ = render_usable(
                draft, plan, spec, reader, scratch, unusable, is_first=not rendered
            )
        except NoUtteranceLeftError:
            continue
        record = encode_mixture(mixture)
        rendered.append((len(record), time.perf_counter() - start_s))
    rejected.update(unusable.values())
    if not rendered:
        raise NothingToDoError(
            "not one of the mixtures that were tried could be made:"
            f" {ReasonCounts(unusable.values()).describe()}"
        )
    # The first one waits for libraries to be loaded.
    return rendered[1:] or rendered


def _describe_corpora(spec: DatasetSpec, plan: Plan, catalogue: Catalogue) -> Iterator[str]:
    sounds = spec.plan_options.sounds
    speech = catalogue.entries_outside(sounds.values())
    yield f"utterances   {len(speech):,}, {catalogue.durations_s(speech).sum() / 3600:.2f} h"
    if spec.plan_options.config.clean_enough is not None:
        left_out = np.flatnonzero(~catalogue.is_clean_enough)
        hours = catalogue.durations_s(left_out.astype(np.int32)).sum() / 3600
        yield f"left out     {len(left_out):,} that are not clean enough, {hours:.2f} h"
    yield f"speakers     {len(np.unique(catalogue.speakers[speech])):,}"
    if plan.num_not_enrolled:
        yield f"left out     {describe_not_enrolled(plan)}"
    for option, corpus in sounds.items():
        yield f"{option:12} {len(catalogue.entries_of(corpus)):,} files"


def _describe_mixtures(spec: DatasetSpec, plan: Plan, sample: _Sample) -> Iterator[str]:
    num_mixtures = sum(plan.counts.values())
    counts = ", ".join(f"{split} {count:,}" for split, count in plan.counts.items())
    yield f"mixtures     {num_mixtures:,}, {num_mixtures * sample.mixture_s / 3600:.2f} h: {counts}"
    yield f"shards       {len(plan.shards):,}"
    num_cores = len(os.sched_getaffinity(0))
    seconds = num_mixtures * sample.elapsed_s
    size = tqdm.format_sizeof(num_mixtures * sample.num_bytes, "B")
    yield f"on disk      {size}{', before compression' if spec.compression else ''}"
    yield (
        f"time         {tqdm.format_interval(seconds)} on one core,"
        f" {tqdm.format_interval(seconds / num_cores)} on the {num_cores} of this machine"
        f" ({sample.num_rendered} mixtures were rendered)"
    )


def _describe_rejected(rejected: set[Rejected]) -> Iterator[str]:
    yield f"rejected     {len(rejected):,}"
    for one in sorted(rejected)[:_MAX_REJECTED_SHOWN]:
        yield f"  {one.path}: {one.reason}"
    if len(rejected) > _MAX_REJECTED_SHOWN:
        yield f"  and {len(rejected) - _MAX_REJECTED_SHOWN:,} more"

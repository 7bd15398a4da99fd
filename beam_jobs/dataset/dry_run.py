"""What would come of a job: its plan, and a few mixtures rendered to see how long they take."""

import itertools
import os
import time
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from beam_jobs.corpora.catalogue import open_catalogue
from beam_jobs.dataset.shards import render_usable
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.plan import Draft, NoUtteranceLeftError, Plan
from beam_jobs.rendering.render import Scratch, encode_mixture
from beam_jobs.runtime.dead_letters import Rejected, read_rejected
from beam_jobs.storage import files
from schemas import dataset

# Enough for a mean, and done in a second or two.
_SHARDS_LOOKED_AT, _DRAFTS_OF_EACH, _RENDERED_OF_EACH = 16, 32, 2
_MAX_REJECTED_SHOWN = 20


def describe_plan(spec: DatasetSpec) -> tuple[str, bool]:
    """Says what a job would do.

    Args:
        spec: has a folder with a catalogue.

    Returns:
        What to print, and whether every file can be used as far as is known.

    Raises:
        NothingToDoError: there are no mixtures to be made.
    """
    plan = spec.open_plan()
    catalogue = open_catalogue(files.join(spec.folder, dataset.CATALOGUE))
    rejected = set(read_rejected(files.join(spec.folder, dataset.REJECTED)))
    sounds = spec.plan_options.sounds
    speech = catalogue.rows_outside(sounds.values())
    shards = plan.shards
    looked_at = shards[:: -(-len(shards) // _SHARDS_LOOKED_AT)]
    num_mixtures = sum(plan.counts.values())
    drafts = [list(itertools.islice(plan.drafts(shard), _DRAFTS_OF_EACH)) for shard in looked_at]
    durations_s = [plan.recipe(draft).duration_s for of_shard in drafts for draft in of_shard]
    mean_duration_s = sum(durations_s) / len(durations_s)
    to_render = [draft for of_shard in drafts for draft in of_shard[:_RENDERED_OF_EACH]]
    rendered = _render(to_render, plan, spec, rejected)
    num_cores = len(os.sched_getaffinity(0))
    lines = [
        f"utterances   {len(speech):,}, {catalogue.durations_s(speech).sum() / 3600:.2f} h",
        f"speakers     {len(np.unique(catalogue.speakers[speech])):,}",
        *(
            f"{option:12} {len(catalogue.rows_of(corpus)):,} files"
            for option, corpus in sounds.items()
        ),
        f"mixtures     {num_mixtures:,}, {num_mixtures * mean_duration_s / 3600:.2f} h: "
        + ", ".join(f"{split} {count:,}" for split, count in plan.counts.items()),
        f"shards       {len(shards):,}",
    ]
    if rendered:
        bytes_each = sum(size for size, _ in rendered) / len(rendered)
        seconds = num_mixtures * sum(elapsed_s for _, elapsed_s in rendered) / len(rendered)
        lines += [
            f"on disk      {tqdm.format_sizeof(num_mixtures * bytes_each, 'B')}"
            + (", before compression" if spec.compression else ""),
            f"time         {tqdm.format_interval(seconds)} on one core,"
            f" {tqdm.format_interval(seconds / num_cores)} on the {num_cores} of this machine"
            f" ({len(rendered)} mixtures were rendered)",
        ]
    lines.append(f"rejected     {len(rejected):,}")
    lines += [f"  {one.path}: {one.reason}" for one in sorted(rejected)[:_MAX_REJECTED_SHOWN]]
    if len(rejected) > _MAX_REJECTED_SHOWN:
        lines.append(f"  and {len(rejected) - _MAX_REJECTED_SHOWN:,} more")
    return "\n".join(lines), not rejected


def _render(
    drafts: Iterable[Draft],
    plan: Plan,
    spec: DatasetSpec,
    rejected: set[Rejected],
) -> list[tuple[int, float]]:
    """The bytes and the seconds of each of some mixtures; what can't be used is added."""
    scratch = Scratch()
    unusable: dict[int, Rejected] = {}
    rendered = []
    for draft in drafts:
        start_s = time.perf_counter()
        try:
            mixture, _ = render_usable(draft, plan, spec, scratch, unusable)
        except NoUtteranceLeftError:
            continue
        rendered.append((len(encode_mixture(mixture)), time.perf_counter() - start_s))
    rejected.update(unusable.values())
    # The first one waits for libraries to be loaded.
    return rendered[1:] or rendered

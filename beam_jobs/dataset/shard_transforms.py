"""TODO."""

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.utils.shared import Shared

from beam_jobs.dataset.shards import _write_line, render_shard
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measures import Quality, parse_quality
from beam_jobs.recipes.plan import Plan
from beam_jobs.rendering.render import Scratch
from beam_jobs.runtime.workarounds import keep_freed_memory
from beam_jobs.storage import files
from schemas.dataset import Shard


class _PlannedDoFn(beam.DoFn):
    """What goes through the shards of a plan, which all threads of a process share."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec
        self._shared_plan = Shared()
        self._opened: Plan | None = None

    def _plan(self) -> Plan:
        if self._opened is None:
            self._opened = self._shared_plan.acquire(self._spec.open_plan)
        return self._opened


class _RenderShard(_PlannedDoFn):
    """Writes each shard that is not there yet. Input: `Shard`. Output: its `Quality`."""

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__(spec)
        self._scratch = Scratch()
        self._shards_rendered = Metrics.counter("mixtures", "shards_rendered")
        self._shards_skipped = Metrics.counter("mixtures", "shards_skipped")
        self._mixtures_rendered = Metrics.counter("mixtures", "mixtures_rendered")
        self._shard_bytes = Metrics.distribution("mixtures", "shard_bytes")

    def setup(self) -> None:
        """Prepares the worker."""
        keep_freed_memory()

    def process(self, element: Shard) -> Iterator[Quality]:
        """Writes one shard."""
        path = self._spec.quality_path(element)
        if files.exists(path):
            self._shards_skipped.inc()
            yield parse_quality(files.read_text(path))
            return
        quality = render_shard(element, self._plan(), self._spec, self._scratch)
        self._shards_rendered.inc()
        for info in quality.infos:
            self._mixtures_rendered.inc(info.num_mixtures)
            self._shard_bytes.update(info.num_bytes)
        yield quality


class _WriteRecipes(_PlannedDoFn):
    """Writes the recipes of each shard that has none yet, and no audio. Input: `Shard`."""

    def process(self, element: Shard) -> None:
        """Writes the recipes of one shard."""
        path = files.join(self._spec.folder, element.recipes)
        if files.exists(path):
            return
        with files.write_atomically(path) as recipes:
            plan = self._plan()
            for draft in plan.drafts(element):
                _write_line(recipes, plan.recipe(draft))


class RenderShards(beam.PTransform[PCollection[Shard], PCollection[Quality]]):
    """Writes each shard that is not there yet. Input: `Shard`. Output: its `Quality`."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec

    def expand(self, shards: PCollection[Shard]) -> PCollection[Quality]:
        """Renders a shard in one piece: no audio passes from step to step."""
        qualities: PCollection[Quality] = shards | "RenderShard" >> beam.ParDo(
            _RenderShard(self._spec)
        )
        return qualities


class WriteRecipes(beam.PTransform[PCollection[Shard], PCollection[None]]):
    """Writes the recipes of each shard that has none yet, and no audio. Input: `Shard`."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec

    def expand(self, shards: PCollection[Shard]) -> PCollection[None]:
        """Draws the recipes of a shard in one piece."""
        written: PCollection[None] = shards | "WriteShardRecipes" >> beam.ParDo(
            _WriteRecipes(self._spec)
        )
        return written

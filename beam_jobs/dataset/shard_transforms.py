"""Beam transforms that write the shards of a dataset.

One element is one shard: audio never passes from one step of the pipeline to the next, only the
name of a shard and its measurements.
"""

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.utils.shared import Shared

from beam_jobs.dataset.shards import render_shard, write_shard_recipes
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measurements import Measurements, parse_measurements
from beam_jobs.recipes.plan import Plan
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.scratch import Scratch
from beam_jobs.runtime import job_folder
from beam_jobs.runtime.workarounds import keep_freed_memory
from beam_jobs.storage import files
from schemas.dataset import Shard
from schemas.errors import UserError


class RenderShards(beam.PTransform[PCollection[Shard], PCollection[Measurements]]):
    """Renders each shard that is not there yet. Input: `Shard`. Output: its `Measurements`."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec

    def expand(self, shards: PCollection[Shard]) -> PCollection[Measurements]:
        """Renders shards in parallel, each in one piece."""
        measurements: PCollection[Measurements] = shards | "RenderShard" >> beam.ParDo(
            _RenderShard(self._spec)
        )
        return measurements


class WriteRecipes(beam.PTransform[PCollection[Shard], PCollection[None]]):
    """Writes the recipes of each shard that has none yet, and no audio. Input: `Shard`."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec

    def expand(self, shards: PCollection[Shard]) -> PCollection[None]:
        """Draws the recipes of shards in parallel, each in one piece."""
        written: PCollection[None] = shards | "WriteShardRecipes" >> beam.ParDo(
            _WriteRecipes(self._spec)
        )
        return written


class _PlannedDoFn(beam.DoFn):
    """A DoFn with the plan of the dataset, which all threads of a process share."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec
        self._shared_plan = Shared()
        self._opened: Plan | None = None

    def _plan(self) -> Plan:
        if self._opened is None:
            self._opened = self._shared_plan.acquire(self._spec.open_plan)
        return self._opened


class _RenderShard(_PlannedDoFn):
    """Renders each shard that is not there yet. Input: `Shard`. Output: its `Measurements`."""

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__(spec)
        self._scratch = Scratch()
        self._shards_rendered = Metrics.counter("mixtures", "shards_rendered")
        self._shards_skipped = Metrics.counter("mixtures", "shards_skipped")
        self._mixtures_rendered = Metrics.counter("mixtures", "mixtures_rendered")
        self._shard_bytes = Metrics.distribution("mixtures", "shard_bytes")

    def setup(self) -> None:
        keep_freed_memory()
        self._reader = PartReader(self._spec.corpus_roots)

    def process(self, element: Shard) -> Iterator[Measurements]:
        path = self._spec.measurements_path(element)
        if files.exists(path):
            self._shards_skipped.inc()
            yield parse_measurements(files.read_text(path))
            return
        if job_folder.reason_to_stop(self._spec.folder):
            return
        try:
            measurements = render_shard(
                element, self._plan(), self._spec, self._reader, self._scratch
            )
        except files.OutputError:
            raise
        except UserError as error:
            job_folder.stop(self._spec.folder, str(error))
            return
        self._shards_rendered.inc()
        for info in measurements.infos:
            self._mixtures_rendered.inc(info.num_mixtures)
            self._shard_bytes.update(info.num_bytes)
        yield measurements


class _WriteRecipes(_PlannedDoFn):
    """Writes the recipes of each shard that has none yet. Input: `Shard`."""

    def process(self, element: Shard) -> None:
        if not files.exists(files.join(self._spec.folder, element.recipes)):
            write_shard_recipes(element, self._plan(), self._spec)

"""Rendering the shards of a dataset: one element of the pipeline is one shard.

Audio never passes from one step of the pipeline to the next; what passes is the name of a shard,
and what was measured of it.
"""

import contextlib
import dataclasses
import gzip
from collections.abc import Iterator, Mapping
from typing import BinaryIO, cast

import apache_beam as beam
import google_crc32c
from apache_beam.metrics.metric import Metrics
from apache_beam.utils.shared import Shared

from beam_jobs import files
from beam_jobs.catalogue import PROGRESS, open_catalogue
from beam_jobs.given_recipes import GivenPlan, GivenRecipes
from beam_jobs.planning import Draft, NoUtteranceLeftError, Plan, PlanOptions
from beam_jobs.quality import Quality, parse_quality
from beam_jobs.rejected import Rejected, read_rejected
from beam_jobs.rendering import (
    Mixture,
    Scratch,
    UnusableSourceError,
    encode_mixture,
    keep_freed_memory,
    render,
)
from schemas import dataset
from schemas.dataset import Shard, ShardInfo
from schemas.recipe import Recipe
from schemas.tfrecord import write_record

# TensorFlow's own; higher levels take several times as long for a percent.
_GZIP_LEVEL = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Rendering:
    """What a worker needs to know to render a shard.

    Attributes:
        folder: the dataset's.
        dataset_name: what the names of files begin with.
        compression: empty, or GZIP.
        corpus_roots: the folder of each corpus, by its name.
        plan_options: what the plan is made from, besides the catalogue.
        given: recipes to take, instead of drawing them.
    """

    folder: str
    dataset_name: str
    compression: str
    corpus_roots: Mapping[str, str]
    plan_options: PlanOptions
    given: GivenRecipes | None = None

    @property
    def has_noise(self) -> bool:
        """Whether there is noise in the mixtures."""
        if self.given is not None:
            return self.given.has_noise
        return self.plan_options.config.noise is not None

    @property
    def has_rooms(self) -> bool:
        """Whether the mixtures are in rooms."""
        if self.given is not None:
            return self.given.has_rooms
        return self.plan_options.config.rooms is not None

    @property
    def mixture_given(self) -> bool:
        """Whether mixtures are recordings, and not the sums of their parts."""
        return self.given is not None and self.given.mixture_given

    @property
    def instruments(self) -> tuple[str, ...]:
        """The names of the sources, where they are the same in all mixtures."""
        return self.given.instruments if self.given else ()

    def open_plan(self) -> Plan | GivenPlan:
        """Makes the plan of the dataset, from its catalogue.

        Raises:
            NothingToDoError: there are no mixtures to be made.
        """
        catalogue = open_catalogue(files.join(self.folder, dataset.CATALOGUE))
        if self.given is not None:
            rejected = read_rejected(files.join(self.folder, dataset.REJECTED))
            return GivenPlan(catalogue, self.given, rejected, self.plan_options.num_shards)
        return Plan(catalogue, self.plan_options)

    def quality_path(self, shard: Shard) -> str:
        """Where the measurements of a shard are; a shard that has them is finished."""
        return files.join(self.folder, PROGRESS, f"{shard}.json")


class _PlannedDoFn(beam.DoFn):
    """What goes through the shards of a plan, which all threads of a process share."""

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._shared_plan = Shared()
        self._opened: Plan | GivenPlan | None = None

    def _plan(self) -> Plan | GivenPlan:
        if self._opened is None:
            self._opened = self._shared_plan.acquire(self._rendering.open_plan)
        return self._opened


class RenderShards(_PlannedDoFn):
    """Writes each shard that is not there yet. Input: `Shard`. Output: its `Quality`."""

    def __init__(self, rendering: Rendering) -> None:
        super().__init__(rendering)
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
        path = self._rendering.quality_path(element)
        if files.exists(path):
            self._shards_skipped.inc()
            yield parse_quality(files.read_text(path))
            return
        quality = render_shard(element, self._plan(), self._rendering, self._scratch)
        self._shards_rendered.inc()
        for info in quality.infos:
            self._mixtures_rendered.inc(info.num_mixtures)
            self._shard_bytes.update(info.num_bytes)
        yield quality


class WriteRecipes(_PlannedDoFn):
    """Writes the recipes of each shard that has none yet, and no audio. Input: `Shard`."""

    def process(self, element: Shard) -> None:
        """Writes the recipes of one shard."""
        path = files.join(self._rendering.folder, element.recipes)
        if files.exists(path):
            return
        with files.write_atomically(path) as recipes:
            plan = self._plan()
            for draft in plan.drafts(element):
                _write_line(recipes, plan.recipe(draft))


def render_shard(
    shard: Shard, plan: Plan | GivenPlan, rendering: Rendering, scratch: Scratch
) -> Quality:
    """Writes the recipes and the records of a shard, and then what was measured of them."""
    quality = Quality()
    path = files.join(rendering.folder, shard.tfrecord(rendering.dataset_name))
    with (
        files.write_atomically(files.join(rendering.folder, shard.recipes)) as recipes,
        files.write_atomically(path) as shard_file,
    ):
        file = _ChecksummedFile(shard_file)
        num_mixtures = 0
        unusable: dict[int, Rejected] = {}
        with _compressed(file, rendering.compression) as records:
            for draft in plan.drafts(shard):
                try:
                    mixture, rows = render_usable(draft, plan, rendering, scratch, unusable)
                except NoUtteranceLeftError:
                    # The report counts what is missing.
                    continue
                write_record(records, encode_mixture(mixture))
                _write_line(recipes, mixture.recipe)
                quality.count_uses(shard.split, rows[: len(mixture.recipe.sources)])
                quality.measure(mixture)
                num_mixtures += 1
    quality.rejected.update(unusable.values())
    quality.infos.append(ShardInfo(shard, num_mixtures, file.num_bytes, file.crc32c))
    files.write_text(rendering.quality_path(shard), quality.to_json())
    return quality


def render_usable(
    draft: Draft,
    plan: Plan | GivenPlan,
    rendering: Rendering,
    scratch: Scratch,
    unusable: dict[int, Rejected],
) -> tuple[Mixture, tuple[int, ...]]:
    """Renders a mixture, with other files in place of those that can't be used.

    Args:
        draft: who is in it.
        plan: where others are found.
        rendering: where the corpora are.
        scratch: where the audio is put.
        unusable: the rows of the catalogue that can't be used are added to it; those that the
            mixtures before it had in vain are not tried again.

    Returns:
        The mixture, and the rows of the catalogue that its utterances are in.

    Raises:
        NoUtteranceLeftError: the split has too few utterances that can be used.
    """
    while True:
        usable = (
            draft if unusable.keys().isdisjoint(draft.part_rows) else plan.redraft(draft, unusable)
        )
        try:
            return render(plan.recipe(usable), rendering.corpus_roots, scratch), usable.rows
        except UnusableSourceError as error:
            path = files.join(rendering.corpus_roots[error.source.corpus], error.source.path)
            unusable[usable.part_rows[error.index]] = Rejected(path, error.reason)


def _write_line(file: BinaryIO, recipe: Recipe) -> None:
    file.write(recipe.to_json().encode() + b"\n")


class _ChecksummedFile:
    """A file that knows the length and the checksum of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0
        self.num_bytes = 0

    def write(self, data: bytes) -> int:
        self._crc = google_crc32c.extend(self._crc, data)
        self.num_bytes += len(data)
        return self._file.write(data)

    @property
    def crc32c(self) -> str:
        return f"{self._crc:08x}"


@contextlib.contextmanager
def _compressed(file: _ChecksummedFile, compression: str) -> Iterator[BinaryIO]:
    if compression == "GZIP":
        # No name and no time in the header: they would make two shards of the same content differ.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, cast(BinaryIO, file), mtime=0) as compressed:
            yield cast(BinaryIO, compressed)
    else:
        yield cast(BinaryIO, file)

"""Beam transforms that finish a dataset."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_jobs.dataset.finishing import finish_dataset
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.quality.measurements import Measurements
from beam_jobs.quality.uses import UseCounts, add_uses, count_uses, count_uses_in_shard
from beam_jobs.runtime.job_folder import reason_to_stop
from schemas.quality import Quality


class FinishDataset(beam.PTransform[PCollection[Measurements], PCollection[Quality]]):
    """Writes everything that is not a shard. Input: `Measurements`. Output: the `Quality`."""

    def __init__(self, spec: DatasetSpec, *, command: Sequence[str]) -> None:
        """Makes the transform.

        Args:
            spec: the dataset.
            command: the command line, for the report.
        """
        self._spec = spec
        self._command = command

    def expand(self, measurements: PCollection[Measurements]) -> PCollection[Quality]:
        """Adds up the measurements of all shards, and finishes the dataset once."""
        quality: PCollection[Quality] = (
            measurements
            | "MergeMeasurements" >> beam.CombineGlobally(_MergeMeasurements())  # type: ignore[no-untyped-call]
            | "WriteDocuments" >> beam.FlatMap(_finish, self._spec, shlex.join(self._command))
        )
        return quality


_Merged = tuple[Measurements, UseCounts, UseCounts]
"""Measurements without uses; the uses of each utterance; those in its shard."""


class _MergeMeasurements(beam.CombineFn):
    """Adds up the measurements of shards, and apart from them the uses of utterances."""

    def create_accumulator(self) -> _Merged:
        return Measurements(), {}, {}

    def add_input(self, mutable_accumulator: _Merged, element: Measurements) -> _Merged:
        without_uses = dataclasses.replace(element, uses={})
        uses = count_uses(element.uses)
        return self.merge_accumulators(
            [mutable_accumulator, (without_uses, uses, count_uses_in_shard(uses))]
        )

    def merge_accumulators(self, accumulators: Sequence[_Merged]) -> _Merged:
        merged = Measurements()
        for measurements, *_ in accumulators:
            merged.merge(measurements)
        return (
            merged,
            add_uses(uses for _, uses, _ in accumulators),
            add_uses(in_shards for *_, in_shards in accumulators),
        )

    def extract_output(self, accumulator: _Merged) -> _Merged:
        return accumulator


def _finish(merged: _Merged, spec: DatasetSpec, command: str) -> Iterator[Quality]:
    if reason_to_stop(spec.folder):
        return
    quality = finish_dataset(spec, *merged, command=command)
    if quality is not None:
        yield quality

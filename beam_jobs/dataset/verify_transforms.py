"""Beam transforms that check a dataset."""

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.combiners import ToList

from beam_jobs.dataset.verification import (
    Damage,
    verify_files,
    verify_shard,
    write_damage,
)
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.runtime.work_counts import CountingDoFn
from schemas.dataset import Dataset, ShardInfo


class FindDamage(beam.PTransform[PBegin, PCollection[Damage]]):
    """Checks all files of a dataset. Output: `Damage`."""

    def __init__(self, folder: str, described: Dataset, *, counts_folder: str) -> None:
        """Makes the transform.

        Args:
            folder: of the dataset.
            described: the content of `dataset.json`.
            counts_folder: where workers keep count of what they have done.
        """
        self._folder = folder
        self._described = described
        self._counts_folder = counts_folder

    def expand(self, root: PBegin) -> PCollection[Damage]:
        """Checks the shards in parallel, and next to them the other files."""
        of_files = (
            root
            | "Folder" >> beam.Create([self._folder])
            | "VerifyFiles" >> beam.FlatMap(verify_files, self._described)
        )
        of_shards = (
            root
            | "Shards" >> beam.Create(self._described.shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "VerifyShards"
            >> beam.ParDo(_VerifyShard(self._folder, self._described, self._counts_folder))
        )
        damage: PCollection[Damage] = (of_files, of_shards) | "AllDamage" >> beam.Flatten()
        return damage


class _VerifyShard(CountingDoFn):
    """Checks a shard. Output: its `Damage`."""

    def __init__(self, folder: str, described: Dataset, counts_folder: str) -> None:
        super().__init__(counts_folder)
        self._folder = folder
        self._described = described

    def process(self, info: ShardInfo) -> Iterator[Damage]:  # type: ignore[override]
        num_left = info.num_mixtures

        def count_mixture(duration_s: float) -> None:
            nonlocal num_left
            num_left -= 1
            self.recorder.add(done=1, done_s=duration_s)

        for damage in verify_shard(self._folder, self._described, info, count_mixture):
            self.recorder.add(rejected=Rejected(damage.path, damage.reason))
            yield damage
        # A shard may be cut short.
        self.recorder.add(done=num_left)


class WriteDamage(beam.PTransform[PCollection[Damage], PCollection[None]]):
    """Writes the report of the damage. Input: `Damage`."""

    def __init__(self, path: str) -> None:
        """Makes the transform.

        Args:
            path: of the report.
        """
        self._path = path

    def expand(self, damage: PCollection[Damage]) -> PCollection[None]:
        """Collects all damage and writes it at once."""
        path = self._path
        written: PCollection[None] = (
            damage
            | "CollectDamage" >> ToList()
            | "WriteReport" >> beam.Map(lambda collected: write_damage(path, collected))
        )
        return written

"""Beam transforms that check a dataset."""

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.combiners import ToList

from beam_jobs.dataset.verification import (
    Damage,
    verify_files,
    verify_shard,
    write_damage,
)
from schemas.dataset import Dataset


class FindDamage(beam.PTransform[PBegin, PCollection[Damage]]):
    """Checks all files of a dataset. Output: `Damage`."""

    def __init__(self, folder: str, described: Dataset) -> None:
        """Makes the transform.

        Args:
            folder: of the dataset.
            described: the content of `dataset.json`.
        """
        self._folder = folder
        self._described = described

    def expand(self, root: PBegin) -> PCollection[Damage]:
        """Checks the shards in parallel, and next to them the other files."""
        of_files = (
            root
            | "Folder" >> beam.Create([self._folder])
            | "VerifyFiles" >> beam.FlatMap(verify_files, self._described)
        )
        folder, described = self._folder, self._described
        of_shards = (
            root
            | "Shards" >> beam.Create(described.shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "VerifyShards" >> beam.FlatMap(lambda info: verify_shard(folder, described, info))
        )
        damage: PCollection[Damage] = (of_files, of_shards) | "AllDamage" >> beam.Flatten()
        return damage


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

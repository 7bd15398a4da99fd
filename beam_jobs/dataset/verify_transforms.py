"""Beam transforms that check a dataset."""

import dataclasses
import json
from collections.abc import Iterable

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.combiners import ToList

from beam_jobs.dataset.verification import Damage, verify_files, verify_shard
from beam_jobs.storage import files
from schemas.dataset import Dataset


class FindDamage(beam.PTransform[PBegin, PCollection[Damage]]):
    """Checks all files of a dataset. Output: each `Damage`."""

    def __init__(self, folder: str, described: Dataset) -> None:
        """Makes the transform.

        Args:
            folder: the dataset's.
            described: the content of `dataset.json`.
        """
        self._folder = folder
        self._described = described

    def expand(self, root: PBegin) -> PCollection[Damage]:
        """Checks the shards in parallel, and the other files beside them."""
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


class WriteDamage(beam.PTransform[PCollection[Damage], PCollection[int]]):
    """Writes the report. Input: each `Damage`. Output: their number."""

    def __init__(self, path: str) -> None:
        """Makes the transform.

        Args:
            path: of the report.
        """
        self._path = path

    def expand(self, damage: PCollection[Damage]) -> PCollection[int]:
        """Writes all damage at once, sorted; without any, an empty report."""
        count: PCollection[int] = (
            damage | "CollectDamage" >> ToList() | "WriteReport" >> beam.Map(_write, self._path)
        )
        return count


def _write(damage: Iterable[Damage], path: str) -> int:
    lines = [json.dumps(dataclasses.asdict(one)) + "\n" for one in sorted(damage)]
    files.write_text(path, "".join(lines))
    return len(lines)

"""Beam transforms that export a dataset."""

from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.combiners import ToList

from beam_jobs.export import find_layout
from beam_jobs.export.layout import Export
from beam_jobs.export.shards import export_shard, shard_entries, table_entries, write_table
from beam_jobs.runtime.dead_letters import Rejected, write_rejected
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.runtime.work_counts import CountingDoFn
from beam_jobs.storage import files
from schemas.dataset import COMPLETED, REJECTED, SPLITS, ShardInfo

_SAME_ID = "several mixtures have this id, and their files overwrite each other: it is in no table"


class ExportShards(beam.PTransform[PBegin, PCollection[Rejected]]):
    """Writes the audio of each shard that is not exported yet. Output: `Rejected`, if damaged."""

    def __init__(self, export: Export) -> None:
        self._export = export

    def expand(self, root: PBegin) -> PCollection[Rejected]:
        """Exports the shards in parallel, each as a whole or not at all."""
        damaged: PCollection[Rejected] = (
            root
            | "Shards" >> beam.Create(self._export.described.shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "ExportShard" >> beam.ParDo(_ExportShard(self._export))
        )
        return damaged


class FinishExport(beam.PTransform[PCollection[Rejected], PCollection[None]]):
    """Writes everything that is not audio. Input: `Rejected`."""

    def __init__(self, export: Export) -> None:
        self._export = export

    def expand(self, rejected: PCollection[Rejected]) -> PCollection[None]:
        """Writes the tables once all shards are exported."""
        done: PCollection[None] = (
            rejected
            | "CollectRejected" >> ToList()
            | "WriteTables" >> beam.Map(_finish, self._export)
        )
        return done


class _ExportShard(CountingDoFn):
    """Writes the audio of a shard that is not exported yet. Output: `Rejected`, if damaged."""

    def __init__(self, export: Export) -> None:
        super().__init__(export.counts_folder)
        self._export = export

    def process(self, info: ShardInfo) -> Iterator[Rejected]:  # type: ignore[override]
        export = self._export
        if files.exists(export.progress_path(info.shard)):
            num_samples = sum(one.num_samples for one in shard_entries(export, info.shard))
            done_s = num_samples / export.described.sample_rate
            self.recorder.add(skipped=info.num_mixtures, done_s=done_s)
            return
        path = files.join(export.dataset_folder, info.shard.tfrecord(export.described.name))
        problem = ""
        if not files.exists(path):
            problem = "missing: copy the shard again"
        elif files.checksum(path)[1] != info.crc32c:
            problem = "damaged: copy the shard again"
        if problem:
            rejected = Rejected(path, problem)
            self.recorder.add(done=info.num_mixtures, rejected=rejected)
            yield rejected
        else:
            export_shard(info, export, lambda length_s: self.recorder.add(done=1, done_s=length_s))


def _finish(damaged: Iterable[Rejected], export: Export) -> None:
    """Writes tables and documents, and `COMPLETED` last, unless nothing could be exported."""
    layout = find_layout(export.layout_name)
    rejected = set(damaged)
    num_exported = 0
    for split in SPLITS:
        if export.described.split_shards(split):
            num_uses = Counter(entry.name for entry in table_entries(export, split))
            doubtful = {name for name, uses in num_uses.items() if uses > 1}
            num_exported += len(num_uses) - len(doubtful)
            rejected |= {Rejected(f"{split}/{name}", _SAME_ID) for name in doubtful}
            for table in layout.tables(export, split):
                write_table(export, split, table, without=doubtful)
    write_rejected(export.path(REJECTED), sorted(rejected))
    if not num_exported:
        return
    for name, text in layout.documents(export).items():
        files.write_text(export.path(name), text)
    files.write_text(export.path(COMPLETED), f"{num_exported}\n")
    if not rejected:
        files.remove(export.output, f"{PROGRESS}/*.jsonl")

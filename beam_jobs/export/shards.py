"""Exporting the audio of one shard, and the tables of a split."""

import codecs
import csv
import dataclasses
import json
from collections.abc import Callable, Container, Iterator

from beam_jobs.audio import encoding
from beam_jobs.dataset.reading import read_mixtures
from beam_jobs.export import find_layout
from beam_jobs.export.layout import Export, Table, TableEntry, file_name
from beam_jobs.storage import files
from schemas.dataset import Shard, ShardInfo


def export_shard(info: ShardInfo, export: Export, count_mixture: Callable[[float], None]) -> None:
    """Writes the files of a shard, and after them the list of its mixtures.

    Args:
        info: the shard, as the dataset lists it.
        export: that it belongs to.
        count_mixture: is given the length of each mixture that is written, in seconds.
    """
    layout = find_layout(export.layout_name)
    entries = []
    for mixture in read_mixtures(export.dataset_folder, export.described, info):
        for name, samples in layout.audio(mixture, export.described):
            path = export.path(f"{name}.{export.audio_format}")
            sample_rate = export.described.sample_rate
            with files.write_atomically(path) as file:
                file.write(encoding.encode_audio(samples, sample_rate, export.audio_format))
        for name, text in layout.texts(mixture).items():
            files.write_text(export.path(name), text)
        entries.append(TableEntry(file_name(mixture.recipe.id), len(mixture.mixture)))
        count_mixture(mixture.recipe.duration_s)
    lines = [json.dumps(dataclasses.asdict(entry)) + "\n" for entry in entries]
    files.write_text(export.progress_path(info.shard), "".join(lines))


def write_table(export: Export, split: str, table: Table, *, without: Container[str]) -> None:
    """Writes a table of a split, leaving out the mixtures with some names."""
    with files.write_atomically(export.path(table.path)) as file:
        # csv writes text, and the file takes bytes.
        text = codecs.getwriter("utf-8")(file)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.columns)
        for entry in table_entries(export, split):
            if entry.name not in without:
                writer.writerow(table.fields(entry))


def table_entries(export: Export, split: str) -> Iterator[TableEntry]:
    """Yields the mixtures of a split that are exported, in order."""
    for info in export.described.split_shards(split):
        yield from shard_entries(export, info.shard)


def shard_entries(export: Export, shard: Shard) -> Iterator[TableEntry]:
    """Yields the mixtures of a shard, if it is exported, in order."""
    path = export.progress_path(shard)
    if files.exists(path):
        for line in files.read_text(path).splitlines():
            yield TableEntry(**json.loads(line))

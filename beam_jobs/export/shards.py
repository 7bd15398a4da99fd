"""Exporting the audio of one shard, and the tables of a split."""

import contextlib
import dataclasses
import io
import json
import tarfile
from collections.abc import Callable, Container, Iterator

from beam_jobs.audio import encoding
from beam_jobs.dataset.reading import read_mixtures
from beam_jobs.export import find_layout
from beam_jobs.export.layout import Export, Stretch, Table, TableEntry, describe_mixture
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
    sample_rate = export.described.sample_rate
    # Readers of tars take an empty one for a mistake.
    archive = layout.archive(info.shard) if info.num_mixtures else None
    entries = []
    with _open_tar(export.path(archive)) if archive else _open_folder(export) as write:
        for mixture in read_mixtures(export.dataset_folder, export.described, info):
            for name, samples in layout.audio(mixture, export.described):
                content = encoding.encode_audio(samples, sample_rate, export.audio_format)
                write(f"{name}.{export.audio_format}", content)
            for name, text in layout.texts(mixture).items():
                write(name, text.encode())
            entries.append(describe_mixture(mixture))
            count_mixture(mixture.recipe.duration_s)
    lines = [json.dumps(dataclasses.asdict(entry)) + "\n" for entry in entries]
    files.write_text(export.progress_path(info.shard), "".join(lines))


def write_table(export: Export, split: str, table: Table, *, without: Container[str]) -> None:
    """Writes a table of a split, leaving out the mixtures with some names."""
    with files.write_atomically(export.path(table.path)) as file:
        file.write(table.header.encode())
        for entry in table_entries(export, split):
            if entry.name not in without:
                file.write(table.lines(entry).encode())


def table_entries(export: Export, split: str) -> Iterator[TableEntry]:
    """Yields the mixtures of a split that are exported, in order."""
    for info in export.described.split_shards(split):
        yield from shard_entries(export, info.shard)


def shard_entries(export: Export, shard: Shard) -> Iterator[TableEntry]:
    """Yields the mixtures of a shard, if it is exported, in order."""
    path = export.progress_path(shard)
    if files.exists(path):
        for line in files.read_text(path).splitlines():
            fields = json.loads(line)
            speech = tuple(Stretch(**one) for one in fields.pop("speech"))
            yield TableEntry(**fields, speech=speech)


@contextlib.contextmanager
def _open_folder(export: Export) -> Iterator[Callable[[str, bytes], None]]:
    """Yields a function that writes a file to the output, by its path there."""

    def write(name: str, content: bytes) -> None:
        with files.write_atomically(export.path(name)) as file:
            file.write(content)

    yield write


@contextlib.contextmanager
def _open_tar(path: str) -> Iterator[Callable[[str, bytes], None]]:
    """Yields a function that adds a file to a tar, which appears once it is complete."""
    with files.write_atomically(path) as file, tarfile.open(fileobj=file, mode="w|") as tar:

        def write(name: str, content: bytes) -> None:
            # Of nobody, and of the year 1970: the same dataset gives the same bytes.
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

        yield write

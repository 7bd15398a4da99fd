"""The catalogue: every usable utterance of the corpora, found by reading headers and no samples.

It is one Arrow file, in the order of a hash of the utterances' ids. Workers map it into memory, so
that a corpus of millions of files costs each of them the few pages that it looks at.
"""

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.storage import files
from schemas import dataset
from schemas.errors import UserError
from schemas.recipe import Utterance

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("corpus", pa.string()),
        ("path", pa.string()),
        ("speaker", pa.string()),
        ("gender", pa.string()),
        ("split", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("sample_rate", pa.int32()),
        ("num_channels", pa.int32()),
    ],
    metadata={"version": "1"},
)


def _order(utterance_id: str) -> bytes:
    return hashlib.blake2b(utterance_id.encode(), digest_size=8).digest()


def write_table(path: str, tables: Iterable[pa.Table], corpora: Sequence[str] = ()) -> None:
    """Writes tables of utterances as one Arrow file, one after the other."""
    schema = _schema_of(corpora)
    with files.write_atomically(path) as file, pa.ipc.new_file(file, schema) as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata))


def _schema_of(corpora: Sequence[str]) -> pa.Schema:
    return SCHEMA.with_metadata({**SCHEMA.metadata, "corpora": json.dumps(list(corpora))})


def keep_catalogue(catalogue_path: str, kept_folder: str) -> str:
    """Copies a catalogue to where other jobs find it, unless it is there; returns its path here."""
    if not files.exists(files.join(kept_folder, dataset.CATALOGUE)):
        _copy_catalogue(os.path.dirname(catalogue_path), kept_folder)
    return catalogue_path


def take_catalogue(kept_folder: str, folder: str, corpora: Sequence[str]) -> None:
    """Copies the catalogue that another job has kept, if there is one.

    Args:
        kept_folder: where that would be.
        folder: of the dataset that needs it.
        corpora: whose catalogue it has to be.

    Raises:
        UserError: it is the catalogue of something else, or none.
    """
    kept = files.join(kept_folder, dataset.CATALOGUE)
    if not files.exists(kept):
        return
    try:
        with files.open_file(kept) as file:
            schema = pa.ipc.open_file(file).schema
    except pa.ArrowInvalid as error:
        raise UserError(f"{kept}: not a catalogue ({error}): remove it") from None
    if not schema.equals(_schema_of(corpora), check_metadata=True):
        of = (schema.metadata or {}).get(b"corpora", b"another version").decode()
        raise UserError(
            f"{kept} is the catalogue of {of}, not of {json.dumps(list(corpora))}: name another"
            " --catalogue"
        )
    _copy_catalogue(kept_folder, folder)


def _copy_catalogue(source_folder: str, target_folder: str) -> None:
    # The catalogue last: where it is, so is the rest.
    for name in (dataset.REJECTED, dataset.CATALOGUE):
        files.copy(files.join(source_folder, name), files.join(target_folder, name))


def _read_table(path: str) -> pa.Table:
    if not files.is_remote(path):
        return pa.ipc.open_file(pa.memory_map(path)).read_all()
    with tempfile.NamedTemporaryFile() as local, files.open_file(path) as file:
        while block := file.read(1 << 22):
            local.write(block)
        local.flush()
        # The mapping outlives the name.
        return pa.ipc.open_file(pa.memory_map(local.name)).read_all()


class Catalogue:
    """A catalogue in memory, or rather, mapped into it."""

    def __init__(self, table: pa.Table) -> None:
        """Makes a catalogue of a table that `write_table` wrote."""
        self._table = table
        self._batches = table.to_batches()
        self._ends = np.cumsum([len(batch) for batch in self._batches])
        speakers = table.column("speaker").combine_chunks().dictionary_encode()
        self.speaker_names: Sequence[str] = speakers.dictionary.to_pylist()
        self.speakers: npt.NDArray[np.int32] = speakers.indices.to_numpy()
        """int32 [utterances]: where each utterance's speaker is in `speaker_names`."""

    def __len__(self) -> int:
        return len(self.speakers)

    def utterances(self, rows: npt.NDArray[np.int32]) -> list[Utterance]:
        """The utterances in some rows, int32 [rows]."""
        # Batch by batch: Arrow would join all of them, and copy the catalogue, to take a few rows.
        numbers = np.searchsorted(self._ends, rows, side="right")
        found: dict[int, Utterance] = {}
        for number in np.unique(numbers):
            batch_rows = rows[numbers == number]
            batch = self._batches[number]
            taken = batch.take(pa.array(batch_rows - (self._ends[number] - len(batch))))
            columns = (column.to_pylist() for column in taken.columns)
            found |= zip(batch_rows.tolist(), map(Utterance, *columns), strict=True)
        return [found[row] for row in rows.tolist()]

    def paths(self, rows: npt.NDArray[np.int32]) -> list[str]:
        """The paths of the files in some rows, each relative to its corpus."""
        return self._table["path"].take(pa.array(rows)).to_pylist()  # type: ignore[no-any-return]

    def rows_of(self, corpus: str) -> npt.NDArray[np.int32]:
        """The rows of a corpus, int32 [rows]."""
        of_corpus = pc.equal(self._table["corpus"], corpus).to_numpy()
        return np.flatnonzero(of_corpus).astype(np.int32)

    def rows_outside(self, corpora: Iterable[str]) -> npt.NDArray[np.int32]:
        """The rows of all corpora but some, int32 [rows]."""
        names = pa.array(list(corpora), pa.string())
        is_inside = pc.is_in(self._table["corpus"], names).to_numpy()
        return np.flatnonzero(~is_inside).astype(np.int32)

    def rows_by_id(self) -> dict[str, int]:
        """The row of each utterance, by its id."""
        return {name: row for row, name in enumerate(self._table["id"].to_pylist())}

    def speaker_splits(self) -> Mapping[str, frozenset[str]]:
        """The corpus's own splits that each speaker stands in."""
        pairs = self._table.group_by(["speaker", "split"]).aggregate([])
        splits: dict[str, frozenset[str]] = {}
        for row in pairs.to_pylist():
            splits[row["speaker"]] = splits.get(row["speaker"], frozenset()) | {row["split"]}
        return splits

    def in_split(self, rows: npt.NDArray[np.int32], split: str) -> npt.NDArray[np.bool_]:
        """Whether the corpus has each of some rows in a split, or in none."""
        own = pc.is_in(self._table["split"].take(pa.array(rows)), pa.array([split, ""]))
        return own.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def genders(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.str_]:
        """The genders in some rows, `f`, `m` or empty, [rows]."""
        codes = pc.index_in(self._table["gender"].take(pa.array(rows)), pa.array(["f", "m"]))
        genders: npt.NDArray[np.str_] = np.array(["f", "m", ""])[codes.fill_null(2).to_numpy()]
        return genders

    def durations_s(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """The length of the utterances in some rows, in seconds, float64 [rows]."""
        start, stop, rate = (
            self._table[name].to_numpy() for name in ("start", "stop", "sample_rate")
        )
        return ((stop - start) / rate)[rows]  # type: ignore[no-any-return]


def open_catalogue(path: str) -> Catalogue:
    """Maps a catalogue into memory, once a process."""
    return _open_version(path, files.version(path)[1])


@functools.lru_cache(maxsize=1)
def _open_version(path: str, last_updated_s: float) -> Catalogue:
    del last_updated_s
    return Catalogue(_read_table(path))

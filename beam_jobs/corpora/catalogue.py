"""The catalogue: a table of every usable utterance of the corpora, and of noise and responses.

It is one Arrow file, in the order of a hash of the utterances' ids. Workers map it into memory, so
that a corpus of millions of files costs each of them only the pages that it reads. An entry is the
number of an utterance in it, from 0.
"""

import functools
import itertools
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
from schemas.recipe_config import CleanEnough

VERSION = 3
"""Changes whenever the same corpora give another catalogue than before."""

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
        ("channel", pa.int32()),
        ("text", pa.string()),
        ("language", pa.string()),
    ],
    metadata={"version": str(VERSION)},
)

# Left out of a catalogue in which no utterance has any.
_OPTIONAL = ("text", "language")

MEASURES = ("bandwidth_hz", "snr_db", "clipped_share", "speech_share")
"""More columns, of a catalogue whose speech was measured, as `Cleanness` has them; null for sounds
without speech."""

MEASURED_SCHEMA = pa.schema(
    [*SCHEMA, *((name, pa.float32()) for name in MEASURES)], metadata=SCHEMA.metadata
)


def write_table(path: str, tables: Iterable[pa.Table], corpora: Sequence[str] = ()) -> None:
    """Writes tables of utterances as one Arrow file, in their order.

    Args:
        path: of the file.
        tables: as `SCHEMA` or `MEASURED_SCHEMA` says, and all with the same columns.
        corpora: descriptions of the corpora, kept in the file for `take_catalogue`.
    """
    remaining = iter(tables)
    first = next(remaining, SCHEMA.empty_table())
    metadata = {**SCHEMA.metadata, "corpora": json.dumps(list(corpora))}
    schema = first.schema.with_metadata(metadata)
    with files.write_atomically(path) as file, pa.ipc.new_file(file, schema) as writer:
        for table in itertools.chain([first], remaining):
            writer.write_table(table.replace_schema_metadata(metadata))


def drop_unused_columns(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Returns tables without the optional columns in which none of them has anything."""
    unused = {
        name for name in _OPTIONAL if all(table[name].null_count == len(table) for table in tables)
    }
    return [
        table.select([name for name in table.column_names if name not in unused])
        for table in tables
    ]


def keep_catalogue(catalogue_path: str, kept_folder: str) -> str:
    """Copies a catalogue to a folder for other jobs, unless one is there.

    Args:
        catalogue_path: of the catalogue.
        kept_folder: the folder that jobs share.

    Returns:
        The path of the catalogue, unchanged.
    """
    if not files.exists(files.join(kept_folder, dataset.CATALOGUE)):
        _copy_catalogue(os.path.dirname(catalogue_path), kept_folder)
    return catalogue_path


def take_catalogue(
    kept_folder: str, folder: str, corpora: Sequence[str], *, needs_measures: bool = False
) -> None:
    """Copies the catalogue that another job has kept, if there is one.

    Args:
        kept_folder: the folder that jobs share.
        folder: of the dataset that needs the catalogue.
        corpora: descriptions of the corpora that it must be of.
        needs_measures: whether it must have `MEASURES`.

    Raises:
        UserError: the file is not a catalogue, one of other corpora or of another version, or one
            without measures where they are needed.
    """
    kept = files.join(kept_folder, dataset.CATALOGUE)
    if not files.exists(kept):
        return
    try:
        with files.open_file(kept) as file:
            schema = pa.ipc.open_file(file).schema
    except pa.ArrowInvalid as error:
        raise UserError(f"{kept}: not a catalogue ({error}): remove it") from None
    if (schema.metadata or {}).get(b"version") != SCHEMA.metadata[b"version"]:
        raise UserError(
            f"{kept} was made by another version of this program: remove {kept_folder}, and the"
            " next job makes a new catalogue"
        )
    if (of := schema.metadata[b"corpora"].decode()) != json.dumps(list(corpora)):
        raise UserError(
            f"{kept} is the catalogue of {of}, not of {json.dumps(list(corpora))}: name another"
            " --catalogue"
        )
    if needs_measures and MEASURES[0] not in schema.names:
        raise UserError(
            f"{kept} has no measures of its speech, and the recipe's clean_enough needs them:"
            f" remove {kept_folder}, and this job makes it anew"
        )
    _copy_catalogue(kept_folder, folder)


def _copy_catalogue(source_folder: str, target_folder: str) -> None:
    # The catalogue last: once it is there, so is the rest.
    for name in (dataset.REJECTED, dataset.CATALOGUE):
        files.copy(files.join(source_folder, name), files.join(target_folder, name))


def read_table(path: str) -> pa.Table:
    """Maps a table that `write_table` wrote into memory; a remote one is downloaded first."""
    if not files.is_remote(path):
        return pa.ipc.open_file(pa.memory_map(path)).read_all()
    with tempfile.NamedTemporaryFile() as local, files.open_file(path) as file:
        while block := file.read(1 << 22):
            local.write(block)
        local.flush()
        # The mapping outlives the temporary file's name.
        return pa.ipc.open_file(pa.memory_map(local.name)).read_all()


class Catalogue:
    """A catalogue that is mapped into memory.

    Utterances that are not clean enough keep their entries, but no method lists them.

    Attributes:
        speaker_names: each speaker once.
        speakers: int32 [utterances], the index of each utterance's speaker in `speaker_names`.
    """

    def __init__(self, table: pa.Table, clean_enough: CleanEnough | None = None) -> None:
        """Prepares to look things up in a table that `write_table` wrote.

        Args:
            table: of the utterances; must have `MEASURES` if there are limits.
            clean_enough: the limits for utterances, or None.
        """
        # Catalogues of the first versions have fewer columns, and speech need not be measured.
        for name in MEASURED_SCHEMA.names:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table)))
        self._table = table
        self._batches = table.select(SCHEMA.names).to_batches()
        self._ends = np.cumsum([len(batch) for batch in self._batches])
        speakers = table.column("speaker").combine_chunks().dictionary_encode()
        self.speaker_names: Sequence[str] = speakers.dictionary.to_pylist()
        self.speakers: npt.NDArray[np.int32] = speakers.indices.to_numpy()
        self.is_clean_enough: npt.NDArray[np.bool_] = np.ones(len(table), bool)
        for name, limit in (clean_enough or CleanEnough()).limits.items():
            self.is_clean_enough &= ~self.is_beyond(name, limit)

    def __len__(self) -> int:
        return len(self.speakers)

    def utterances(self, entries: npt.NDArray[np.int32]) -> list[Utterance]:
        """Returns the utterances at some entries, int32 [entries], in that order."""
        # Batch by batch: to take a few entries from all of them, Arrow would join and so copy them.
        numbers = np.searchsorted(self._ends, entries, side="right")
        found: dict[int, Utterance] = {}
        for number in np.unique(numbers):
            in_batch = entries[numbers == number]
            batch = self._batches[number]
            taken = batch.take(pa.array(in_batch - (self._ends[number] - len(batch))))
            columns = (column.to_pylist() for column in taken.columns)
            found |= zip(in_batch.tolist(), map(Utterance, *columns), strict=True)
        return [found[entry] for entry in entries.tolist()]

    def paths(self, entries: npt.NDArray[np.int32]) -> list[str]:
        """Returns the paths of the files at some entries, each relative to its corpus."""
        return self._table["path"].take(pa.array(entries)).to_pylist()  # type: ignore[no-any-return]

    def measures(self, name: str) -> npt.NDArray[np.float32]:
        """Returns one of `MEASURES`, float32 [utterances]; NaN for sounds without speech."""
        measures: npt.NDArray[np.float32] = self._table[name].cast(pa.float32()).to_numpy()
        return measures

    def is_beyond(self, limit_name: str, limit: float) -> npt.NDArray[np.bool_]:
        """Returns whether each utterance is beyond one of the limits of `CleanEnough`.

        Args:
            limit_name: such as `min_snr_db`.
            limit: its value.

        Returns:
            bool [utterances].
        """
        side, _, name = limit_name.partition("_")
        measures = self.measures(name)
        return measures < limit if side == "min" else measures > limit

    def entries_of(self, corpus: str) -> npt.NDArray[np.int32]:
        """Returns the entries of one corpus, int32 [entries]."""
        of_corpus = pc.equal(self._table["corpus"], corpus).to_numpy()
        return np.flatnonzero(of_corpus & self.is_clean_enough).astype(np.int32)

    def speakers_of(self, corpus: str) -> list[str]:
        """Returns the names of the speakers of one corpus, sorted."""
        return sorted(
            self.speaker_names[index] for index in np.unique(self.speakers[self.entries_of(corpus)])
        )

    def entries_outside(self, corpora: Iterable[str]) -> npt.NDArray[np.int32]:
        """Returns the entries of all corpora but some, int32 [entries]."""
        names = pa.array(list(corpora), pa.string())
        is_inside = pc.is_in(self._table["corpus"], names).to_numpy()
        return np.flatnonzero(~is_inside & self.is_clean_enough).astype(np.int32)

    def entries_by_id(self) -> dict[str, int]:
        """Returns the entry of each utterance, by the utterance's id."""
        return {name: entry for entry, name in enumerate(self._table["id"].to_pylist())}

    def speaker_splits(self) -> Mapping[str, frozenset[str]]:
        """Returns the splits that the corpora have each speaker's utterances in, by speaker."""
        pairs = self._table.group_by(["speaker", "split"]).aggregate([])
        splits: dict[str, frozenset[str]] = {}
        for pair in pairs.to_pylist():
            speaker = pair["speaker"]
            splits[speaker] = splits.get(speaker, frozenset()) | {pair["split"]}
        return splits

    def in_split(self, entries: npt.NDArray[np.int32], split: str) -> npt.NDArray[np.bool_]:
        """Returns whether the corpus has each of some entries in a split or in none, [entries]."""
        own = pc.is_in(self._table["split"].take(pa.array(entries)), pa.array([split, ""]))
        return own.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def genders(self, entries: npt.NDArray[np.int32]) -> npt.NDArray[np.str_]:
        """Returns the genders of the speakers at some entries, `f`, `m` or empty, [entries]."""
        codes = pc.index_in(self._table["gender"].take(pa.array(entries)), pa.array(["f", "m"]))
        genders: npt.NDArray[np.str_] = np.array(["f", "m", ""])[codes.fill_null(2).to_numpy()]
        return genders

    def durations_s(self, entries: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """Returns the lengths of the utterances at some entries in seconds, float64 [entries]."""
        start, stop, rate = (
            self._table[name].to_numpy() for name in ("start", "stop", "sample_rate")
        )
        return ((stop - start) / rate)[entries]  # type: ignore[no-any-return]


def open_catalogue(path: str, clean_enough: CleanEnough | None = None) -> Catalogue:
    """Maps a catalogue into memory; the same file only once a process.

    Args:
        path: of the file.
        clean_enough: as for `Catalogue`.
    """
    return _open_version(path, files.version(path)[1], clean_enough)


@functools.lru_cache(maxsize=1)
def _open_version(path: str, last_updated_s: float, clean_enough: CleanEnough | None) -> Catalogue:
    del last_updated_s
    return Catalogue(read_table(path), clean_enough)

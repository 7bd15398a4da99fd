"""The catalogue: every usable utterance of the corpora, found by reading headers and no samples.

It is one Arrow file, in the order of a hash of the utterances' ids. Workers map it into memory, so
that a corpus of millions of files costs each of them the few pages that it looks at.
"""

import dataclasses
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_jobs import files
from beam_jobs.audio import AudioHeader, UnusableAudioError, read_header
from beam_jobs.corpora import find_candidates
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.rejected import Rejected, write_rejected
from schemas import dataset
from schemas.recipe import Utterance

# What a job leaves for the same job started again; gone when the dataset is complete.
PROGRESS = "progress"

# Shorter than this is no speech; a file of one sample is what it is meant for.
MIN_DURATION_S = 0.1

# Manifests give the end of a file in decimals, and most of them two.
_ROUNDING_S = 0.011

# Few enough files for a small corpus, small enough ranges to be sorted in memory for a large one.
_NUM_PARTS = 16

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


Found = tuple[Corpus, Candidate | Rejected]
"""What a corpus has, before anybody has looked into the file."""


class CatalogueUtterances(beam.PTransform[PCollection[Found], PCollection[str]]):
    """Reads the headers of all files and writes the catalogue.

    Input: what was found. Output: the path of the catalogue, once it is there. What can't be used
    is in `rejected.jsonl` before.
    """

    def __init__(
        self,
        *,
        folder: str,
        corpora: Sequence[str],
        corpus_roots: Mapping[str, str],
        prefix_names: bool,
    ) -> None:
        """Makes the transform.

        Args:
            folder: the dataset's.
            corpora: whose catalogue it is, in words that are kept in it.
            corpus_roots: the folder of each corpus, by its name.
            prefix_names: whether to put the name of its corpus before each id, which is unique
                within one corpus only.
        """
        self._folder = folder
        self._corpora = corpora
        self._corpus_roots = corpus_roots
        self._prefix_names = prefix_names

    def expand(self, found: PCollection[Found]) -> PCollection[str]:
        """Reads in parallel, sorts by ranges of a hash, joins the ranges."""
        read = (
            found
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadHeaders"
            >> beam.FlatMap(_catalogue, prefix_names=self._prefix_names).with_outputs(
                "rejected", main="utterances"
            )
        )
        written = (
            read.utterances
            | "SortById" >> beam.Map(lambda utterance: (_part(utterance.id), utterance))
            | "GroupIntoParts" >> beam.GroupByKey()
            | "WriteParts"
            >> beam.FlatMap(
                _write_part, folder=self._folder, corpus_roots=self._corpus_roots
            ).with_outputs("rejected", main="parts")
        )
        rejected = (read["rejected"], written["rejected"]) | "AllRejected" >> beam.Flatten()
        catalogue: PCollection[str] = (
            found.pipeline
            | "Once" >> beam.Create([self._folder])
            | "JoinParts"
            >> beam.Map(
                _join_parts,
                corpora=self._corpora,
                parts=beam.pvalue.AsIter(written.parts),
                rejected=beam.pvalue.AsIter(rejected),
            )
        )
        return catalogue


def find_utterances(corpus: Corpus) -> Iterator[Found]:
    """Yields what a corpus has."""
    for candidate in find_candidates(corpus):
        yield corpus, candidate


def _catalogue(
    found: Found, prefix_names: bool
) -> Iterator[Utterance | TaggedOutput[Literal["rejected"], Rejected]]:
    utterance = catalogue_utterance(*found, prefix_names=prefix_names)
    if isinstance(utterance, Rejected):
        printable = dataclasses.replace(utterance, path=_printable(utterance.path))
        yield TaggedOutput("rejected", printable)
    else:
        yield utterance


def catalogue_utterance(
    corpus: Corpus, candidate: Candidate | Rejected, *, prefix_names: bool
) -> Utterance | Rejected:
    """Reads the header of a candidate's file.

    Args:
        corpus: where the candidate is from.
        candidate: what the corpus's layout says of it; what it rejects stays so.
        prefix_names: whether to put the name of the corpus before the ids of utterance and speaker,
            which are unique within one corpus only.
    """
    if isinstance(candidate, Rejected):
        return candidate
    path = files.join(corpus.root, candidate.path)
    try:
        _check_path(corpus, candidate.path)
        header = read_header(path)
        start, stop = _frames(candidate, header)
        if stop - start < MIN_DURATION_S * header.sample_rate:
            raise UnusableAudioError(f"shorter than {MIN_DURATION_S} s")
    except UnusableAudioError as error:
        origin = f": named in {candidate.origin}" if candidate.origin else ""
        return Rejected(path, f"{error}{origin}")
    prefix = f"{corpus.name}/" if prefix_names else ""
    return Utterance(
        id=prefix + candidate.utterance,
        corpus=corpus.name,
        path=candidate.path,
        speaker=prefix + candidate.speaker,
        gender=candidate.gender,
        split=candidate.split,
        start=start,
        stop=stop,
        sample_rate=header.sample_rate,
        num_channels=header.num_channels,
    )


def _frames(candidate: Candidate, header: AudioHeader) -> tuple[int, int]:
    """The frames of a candidate's time range.

    Raises:
        UnusableAudioError: the range leaves the file.
    """
    duration_s = header.num_frames / header.sample_rate
    stop_s = duration_s if candidate.stop_s is None else candidate.stop_s
    if candidate.start_s < 0 or max(candidate.start_s, stop_s - _ROUNDING_S) > duration_s:
        raise UnusableAudioError(
            f"a time range outside the file: {candidate.start_s:g} to {stop_s:g} s of"
            f" {duration_s:g} s"
        )
    stop = min(round(stop_s * header.sample_rate), header.num_frames)
    return round(candidate.start_s * header.sample_rate), stop


def _check_path(corpus: Corpus, path: str) -> None:
    if _printable(path) != path:
        raise UnusableAudioError("the file's name is not UTF-8: rename it")
    # A manifest may well name files elsewhere.
    if files.is_remote(path) or files.is_remote(corpus.root) or os.path.isabs(path):
        return
    root = os.path.realpath(corpus.root)
    file = os.path.join(root, path.rstrip("/"))
    if os.path.realpath(file) != file:
        raise UnusableAudioError(
            "a link, or a path that leaves the corpus: copy what it points to into the corpus"
        )
    # Opening a pipe would wait forever for someone to write into it.
    if os.path.exists(file) and not os.path.isfile(file):
        raise UnusableAudioError("not a file")


def _printable(path: str) -> str:
    return path.encode(errors="backslashreplace").decode()


def _order(utterance_id: str) -> bytes:
    return hashlib.blake2b(utterance_id.encode(), digest_size=8).digest()


def _part(utterance_id: str) -> int:
    return _order(utterance_id)[0] * _NUM_PARTS // 256


def _write_part(
    keyed: tuple[int, Iterable[Utterance]], folder: str, corpus_roots: Mapping[str, str]
) -> Iterator[str | TaggedOutput[Literal["rejected"], Rejected]]:
    """Writes one part, and yields its path, and what has an id that was there before."""
    part, utterances = keyed
    unique: dict[str, Utterance] = {}
    for utterance in sorted(utterances, key=lambda one: (_order(one.id), one.id, one.path)):
        first = unique.setdefault(utterance.id, utterance)
        if first is not utterance:
            path = files.join(corpus_roots[utterance.corpus], utterance.path)
            reason = f"duplicate utterance id: {utterance.id!r} is {first.path} too"
            yield TaggedOutput("rejected", Rejected(path, reason))
    rows = [[getattr(one, name) for name in SCHEMA.names] for one in unique.values()]
    columns = [
        pa.array(column, field.type)
        for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)
    ]
    path = files.join(folder, PROGRESS, f"catalogue-{part:02d}.arrow")
    write_table(path, [pa.table(columns, schema=SCHEMA)])
    yield path


def write_table(path: str, tables: Iterable[pa.Table], corpora: Sequence[str] = ()) -> None:
    """Writes tables of utterances as one Arrow file, one after the other."""
    schema = _schema_of(corpora)
    with files.write_atomically(path) as file, pa.ipc.new_file(file, schema) as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata))


def _schema_of(corpora: Sequence[str]) -> pa.Schema:
    return SCHEMA.with_metadata({**SCHEMA.metadata, "corpora": json.dumps(list(corpora))})


def _join_parts(
    folder: str, corpora: Sequence[str], parts: Iterable[str], rejected: Iterable[Rejected]
) -> str:
    """Makes the catalogue of its parts, when all that was rejected on the way is known."""
    write_rejected(files.join(folder, dataset.REJECTED), sorted(rejected))
    path = files.join(folder, dataset.CATALOGUE)
    write_table(path, map(_read_table, sorted(parts)), corpora)
    return path


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
        ValueError: it is the catalogue of something else, or none.
    """
    kept = files.join(kept_folder, dataset.CATALOGUE)
    if not files.exists(kept):
        return
    try:
        with files.open_file(kept) as file:
            schema = pa.ipc.open_file(file).schema
    except pa.ArrowInvalid as error:
        raise ValueError(f"{kept}: not a catalogue ({error}): remove it") from None
    if not schema.equals(_schema_of(corpora), check_metadata=True):
        of = (schema.metadata or {}).get(b"corpora", b"another version").decode()
        raise ValueError(
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

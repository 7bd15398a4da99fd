"""Beam transform that reads the headers of all audio files and writes the catalogue."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_jobs.corpora.catalogue import (
    SCHEMA,
    drop_unused_columns,
    read_table,
    write_table,
)
from beam_jobs.corpora.headers import catalogue_utterance
from beam_jobs.corpora.layout import Found
from beam_jobs.corpora.shared_audio import SharedAudioError, find_doubtful
from beam_jobs.runtime.dead_letters import REJECTED, Rejected, write_rejected
from beam_jobs.runtime.job_folder import PROGRESS, stop
from beam_jobs.runtime.work_counts import CountingDoFn
from beam_jobs.storage import files
from schemas import dataset
from schemas.recipe import Utterance

# Few enough files for a small corpus, small enough ranges to be sorted in memory for a large one.
_NUM_PARTS = 16


class CatalogueUtterances(beam.PTransform[PCollection[Found], PCollection[str]]):
    """Reads the headers of all files and writes the catalogue.

    Input: each candidate of each corpus. Output: the path of the catalogue, once it is written.
    Before that, `rejected.jsonl` is written, with what can't be used.
    """

    def __init__(
        self,
        *,
        folder: str,
        corpora: Sequence[str],
        corpus_roots: Mapping[str, str],
        prefix_names: bool,
        refuse_shared: bool,
    ) -> None:
        """Makes the transform.

        Args:
            folder: of the dataset.
            corpora: descriptions of the corpora, which the catalogue keeps.
            corpus_roots: the folder of each corpus, by its name.
            prefix_names: whether ids begin with the name of their corpus; without it they are
                unique within one corpus only.
            refuse_shared: whether to stop the job if two corpora have the same audio, and to reject
                what has several speakers in one corpus.
        """
        self._folder = folder
        self._corpora = corpora
        self._corpus_roots = corpus_roots
        self._prefix_names = prefix_names
        self._refuse_shared = refuse_shared

    def expand(self, found: PCollection[Found]) -> PCollection[str]:
        """Reads headers in parallel, sorts ranges of a hash of the ids, and joins the ranges."""
        read = (
            found
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadHeaders"
            >> beam.ParDo(_ReadHeader(self._folder, prefix_names=self._prefix_names)).with_outputs(
                REJECTED, main="utterances"
            )
        )
        written = (
            read.utterances
            | "SortById" >> beam.Map(lambda utterance: (_part(utterance.id), utterance))
            | "GroupIntoParts" >> beam.GroupByKey()
            | "WriteParts"
            >> beam.FlatMap(
                _write_part, folder=self._folder, corpus_roots=self._corpus_roots
            ).with_outputs(REJECTED, main="parts")
        )
        rejected = (read[REJECTED], written[REJECTED]) | "AllRejected" >> beam.Flatten()
        catalogue: PCollection[str] = (
            found.pipeline
            | "Once" >> beam.Create([self._folder])
            | "JoinParts"
            >> beam.FlatMap(
                _join_parts,
                corpora=self._corpora,
                corpus_roots=self._corpus_roots,
                refuse_shared=self._refuse_shared,
                parts=beam.pvalue.AsIter(written.parts),
                rejected=beam.pvalue.AsIter(rejected),
            )
        )
        return catalogue


class _ReadHeader(CountingDoFn):
    """Reads the header of a file. Input: a candidate. Output: its utterance, or its rejection."""

    def __init__(self, folder: str, *, prefix_names: bool) -> None:
        super().__init__(files.join(folder, PROGRESS))
        self._prefix_names = prefix_names

    def process(
        self, element: Found
    ) -> Iterator[Utterance | TaggedOutput[Literal["rejected"], Rejected]]:
        utterance = catalogue_utterance(*element, prefix_names=self._prefix_names)
        if isinstance(utterance, Rejected):
            self.recorder.add(looked=1, rejected=utterance)
            yield TaggedOutput(REJECTED, utterance)
        else:
            self.recorder.add(looked=1)
            yield utterance


def _order(utterance_id: str) -> bytes:
    """Returns the place of an utterance in the catalogue, as a hash that compares."""
    return hashlib.blake2b(utterance_id.encode(), digest_size=8).digest()


def _part(utterance_id: str) -> int:
    return _order(utterance_id)[0] * _NUM_PARTS // 256


def _write_part(
    keyed: tuple[int, Iterable[Utterance]], folder: str, corpus_roots: Mapping[str, str]
) -> Iterator[str | TaggedOutput[Literal["rejected"], Rejected]]:
    """Writes one part of the catalogue; yields its path, and each utterance with a taken id."""
    part, utterances = keyed
    unique: dict[str, Utterance] = {}
    for utterance in sorted(utterances, key=lambda one: (_order(one.id), one.id, one.path)):
        first = unique.setdefault(utterance.id, utterance)
        if first is not utterance:
            path = files.join(corpus_roots[utterance.corpus], utterance.path)
            reason = f"duplicate utterance id: {utterance.id!r} is {first.path} too"
            yield TaggedOutput(REJECTED, Rejected(path, reason))
    columns = [
        pa.array([getattr(one, field.name) for one in unique.values()], field.type)
        for field in SCHEMA
    ]
    path = files.join(folder, PROGRESS, f"catalogue-{part:02d}.arrow")
    write_table(path, [pa.table(columns, schema=SCHEMA)])
    yield path


def _join_parts(
    folder: str,
    corpora: Sequence[str],
    corpus_roots: Mapping[str, str],
    refuse_shared: bool,
    parts: Iterable[str],
    rejected: Iterable[Rejected],
) -> Iterator[str]:
    """Joins the parts of the catalogue, after writing down what was rejected on the way."""
    tables = [read_table(part) for part in sorted(parts)]
    doubtful: Mapping[str, Rejected] = {}
    if refuse_shared:
        try:
            doubtful = find_doubtful(tables, corpus_roots)
        except SharedAudioError as error:
            stop(folder, str(error))
            return
    write_rejected(files.join(folder, dataset.REJECTED), sorted([*rejected, *doubtful.values()]))
    if doubtful:
        ids = pa.array(list(doubtful), pa.string())
        tables = [table.filter(pc.invert(pc.is_in(table["id"], ids))) for table in tables]
    path = files.join(folder, dataset.CATALOGUE)
    write_table(path, drop_unused_columns(tables), corpora)
    yield path

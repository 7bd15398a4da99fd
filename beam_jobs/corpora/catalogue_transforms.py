"""Beam transform that reads the headers of all audio files and writes the catalogue."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_jobs.audio.cleanness import Cleanness
from beam_jobs.corpora.catalogue import (
    MEASURED_SCHEMA,
    MEASURES,
    SCHEMA,
    drop_unused_columns,
    read_table,
    write_table,
)
from beam_jobs.corpora.clean_enough import measure_utterance
from beam_jobs.corpora.headers import catalogue_utterance
from beam_jobs.corpora.layout import SOUNDS, Candidate, Corpus, Found
from beam_jobs.corpora.shared_audio import SharedAudioError, find_doubtful
from beam_jobs.runtime.dead_letters import REJECTED, Rejected, write_rejected
from beam_jobs.runtime.job_folder import PROGRESS, stop
from beam_jobs.runtime.work_counts import CountingDoFn
from beam_jobs.storage import files
from schemas import dataset
from schemas.recipe import Utterance

_Entry = tuple[Utterance, Cleanness | None]
"""An utterance, and its measures where they are asked for and it is speech."""

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
        measure_speech: bool,
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
            measure_speech: whether to decode all speech, and say how clean it is.
        """
        self._measure_speech = measure_speech
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
            >> beam.ParDo(
                _ReadHeader(
                    self._folder,
                    prefix_names=self._prefix_names,
                    measure_speech=self._measure_speech,
                )
            ).with_outputs(REJECTED, main="utterances")
        )
        written = (
            read.utterances
            | "SortById" >> beam.Map(lambda entry: (_part(entry[0].id), entry))
            | "GroupIntoParts" >> beam.GroupByKey()
            | "WriteParts"
            >> beam.FlatMap(
                _write_part,
                folder=self._folder,
                corpus_roots=self._corpus_roots,
                is_measured=self._measure_speech,
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
    """Reads the header of a file. Input: a candidate. Output: its `_Entry`, or its rejection."""

    def __init__(self, folder: str, *, prefix_names: bool, measure_speech: bool) -> None:
        super().__init__(files.join(folder, PROGRESS))
        self._prefix_names = prefix_names
        self._measure_speech = measure_speech

    def process(
        self, element: Found
    ) -> Iterator[_Entry | TaggedOutput[Literal["rejected"], Rejected]]:
        entry = self._read(*element)
        if isinstance(entry, Rejected):
            self.recorder.add(looked=1, rejected=entry)
            yield TaggedOutput(REJECTED, entry)
        else:
            self.recorder.add(looked=1)
            yield entry

    def _read(self, corpus: Corpus, candidate: Candidate | Rejected) -> _Entry | Rejected:
        utterance = catalogue_utterance(corpus, candidate, prefix_names=self._prefix_names)
        if isinstance(utterance, Rejected):
            return utterance
        if not self._measure_speech or corpus.layout in SOUNDS:
            return utterance, None
        cleanness = measure_utterance(utterance, corpus.root)
        return cleanness if isinstance(cleanness, Rejected) else (utterance, cleanness)


def _order(utterance_id: str) -> bytes:
    """Returns the place of an utterance in the catalogue, as a hash that compares."""
    return hashlib.blake2b(utterance_id.encode(), digest_size=8).digest()


def _part(utterance_id: str) -> int:
    return _order(utterance_id)[0] * _NUM_PARTS // 256


def _write_part(
    keyed: tuple[int, Iterable[_Entry]],
    folder: str,
    corpus_roots: Mapping[str, str],
    is_measured: bool,
) -> Iterator[str | TaggedOutput[Literal["rejected"], Rejected]]:
    """Writes one part of the catalogue; yields its path, and each utterance with a taken id."""
    part, entries = keyed
    unique: dict[str, _Entry] = {}
    for entry in sorted(entries, key=lambda one: (_order(one[0].id), one[0].id, one[0].path)):
        utterance = entry[0]
        first, _ = unique.setdefault(utterance.id, entry)
        if first is not utterance:
            path = files.join(corpus_roots[utterance.corpus], utterance.path)
            reason = f"duplicate utterance id: {utterance.id!r} is {first.path} too"
            yield TaggedOutput(REJECTED, Rejected(path, reason))
    columns = [
        pa.array([getattr(one, field.name) for one, _ in unique.values()], field.type)
        for field in SCHEMA
    ]
    if is_measured:
        measures = [measured for _, measured in unique.values()]
        columns += [
            pa.array([one and getattr(one, name) for one in measures], pa.float32())
            for name in MEASURES
        ]
    path = files.join(folder, PROGRESS, f"catalogue-{part:02d}.arrow")
    table = pa.table(columns, schema=MEASURED_SCHEMA if is_measured else SCHEMA)
    write_table(path, [table])
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

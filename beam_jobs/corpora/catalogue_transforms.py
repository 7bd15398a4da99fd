"""TODO."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_jobs.corpora import find_candidates
from beam_jobs.corpora.catalogue import SCHEMA, _order, _read_table, write_table
from beam_jobs.corpora.headers import _printable, catalogue_utterance
from beam_jobs.corpora.layout import Candidate, Corpus
from beam_jobs.runtime.dead_letters import Rejected, write_rejected
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files
from schemas import dataset
from schemas.recipe import Utterance

# Few enough files for a small corpus, small enough ranges to be sorted in memory for a large one.
_NUM_PARTS = 16


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


def _join_parts(
    folder: str, corpora: Sequence[str], parts: Iterable[str], rejected: Iterable[Rejected]
) -> str:
    """Makes the catalogue of its parts, when all that was rejected on the way is known."""
    write_rejected(files.join(folder, dataset.REJECTED), sorted(rejected))
    path = files.join(folder, dataset.CATALOGUE)
    write_table(path, map(_read_table, sorted(parts)), corpora)
    return path

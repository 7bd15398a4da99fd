"""The scoring job's transforms: read the ledger, score each recording, write the report.

Only names travel between the steps: audio is read where it is measured.
"""

import functools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection, PDone
from apache_beam.transforms.combiners import ToList

from beam_jobs.runtime.dead_letters import REJECTED, Rejected
from beam_jobs.runtime.retries import with_retries
from beam_jobs.runtime.work_counts import CountingDoFn
from beam_jobs.separation.archive_scores import (
    Score,
    score_against_files,
    score_against_mixture,
)
from beam_jobs.separation.ledger import read_record, record_path
from beam_jobs.separation.references import References, SeparatedRecording, UnscorableError
from beam_jobs.storage import files
from schemas.dataset import Dataset, Shard
from schemas.mixture import StoredMixture, decode_mixture
from schemas.tfrecord import CorruptRecordError, read_records
from scoring.evaluation import NUM_PLAYERS
from scoring.report import render_reports

_FOUND = "found"

Scoring = beam.PTransform[
    PCollection[SeparatedRecording], tuple[PCollection[Score], PCollection[Rejected]]
]
"""A transform that scores recordings. Output: a `Score` or a `Rejected` for each."""


class ReadLedger(beam.PTransform[PBegin, Any]):
    """Reads the records of an archive's ledger; the first few recordings get players.

    Output: `SeparatedRecording`, and a `Rejected` for each record that can't be read.
    """

    def __init__(self, archive: str, relative_paths: Sequence[str], *, counts_folder: str) -> None:
        """Takes an archive.

        Args:
            archive: its folder.
            relative_paths: the places of its recordings in the tree.
            counts_folder: where workers keep count of what they have done.
        """
        self._archive = archive
        self._relative_paths = relative_paths
        self._counts_folder = counts_folder

    # Beam prints a warning about each hint of two outputs: it knows PCollection and Any.
    def expand(self, begin: PBegin) -> Any:
        """Spreads the names over the workers, and reads their records there."""
        players = [f"{number:02d}" for number in range(NUM_PLAYERS)]
        players += [""] * (len(self._relative_paths) - len(players))
        ledger = (
            begin.pipeline
            | "Recordings" >> beam.Create(list(zip(self._relative_paths, players, strict=False)))
            | "SpreadRecordings" >> beam.Reshuffle()
            | "ReadRecords"
            >> beam.ParDo(_ReadRecord(self._archive, self._counts_folder)).with_outputs(
                REJECTED, main=_FOUND
            )
        )
        return ledger[_FOUND], ledger[REJECTED]


class ScoreAgainstFiles(Scoring):
    """Scores recordings against files of references."""

    def __init__(self, references: References, *, output: str, counts_folder: str) -> None:
        """Takes the references, the folder of the report, and that of the workers' counts."""
        self._references = references
        self._output = output
        self._counts_folder = counts_folder

    def expand(self, recordings: PCollection[SeparatedRecording]) -> Any:
        """Scores one recording at a time."""
        scored = (
            recordings
            | "SpreadSeparated" >> beam.Reshuffle()
            | "ScoreFiles"
            >> beam.ParDo(
                _ScoreFiles(self._references, self._output, self._counts_folder)
            ).with_outputs(REJECTED, main=_FOUND)
        )
        return scored[_FOUND], scored[REJECTED]


class ScoreAgainstDataset(Scoring):
    """Scores recordings that are mixtures of a dataset, and have their ids for names."""

    def __init__(
        self, folder: str, dataset: Dataset, *, rttm: bool, output: str, counts_folder: str
    ) -> None:
        """Takes a dataset.

        Args:
            folder: the dataset's.
            dataset: the content of its `dataset.json`.
            rttm: whether who speaks when is scored too, against the speech in each source.
            output: the folder of the report.
            counts_folder: where workers keep count of what they have done.
        """
        self._folder = folder
        self._dataset = dataset
        self._rttm = rttm
        self._output = output
        self._counts_folder = counts_folder

    def expand(self, recordings: PCollection[SeparatedRecording]) -> Any:
        """Finds the shard of each recording's mixture, and scores one shard at a time."""
        shards = (
            recordings.pipeline
            | "Shards" >> beam.Create([info.shard for info in self._dataset.shards])
            | "SpreadShards" >> beam.Reshuffle()
            | "MixturesOfShards"
            >> beam.FlatMap(functools.partial(_list_mixtures, self._folder, self._dataset.name))
        )
        placed = (
            (recordings | "ByMixture" >> beam.WithKeys(lambda one: one.mixture_id), shards)
            | "FindMixtures" >> beam.CoGroupByKey()
            | "FindShards"
            >> beam.ParDo(_FindShard(self._folder, self._counts_folder)).with_outputs(
                REJECTED, main=_FOUND
            )
        )
        scored = (
            placed[_FOUND]
            | "ByShard" >> beam.GroupByKey()
            | "ScoreShards"
            >> beam.ParDo(
                _ScoreShard(
                    self._folder, self._dataset, self._rttm, self._output, self._counts_folder
                )
            ).with_outputs(REJECTED, main=_FOUND)
        )
        rejected = (placed[REJECTED], scored[REJECTED]) | "Unscored" >> beam.Flatten()
        return scored[_FOUND], rejected


class WriteReports(beam.PTransform[PCollection[Score], PDone]):
    """Writes the report on all recordings, unless none could be scored. Input: `Score`."""

    def __init__(self, output: str, *, diarisation_reference: str) -> None:
        """Takes the folder of the report, and a few words on where the true turns are from."""
        self._output = output
        self._diarisation_reference = diarisation_reference

    def expand(self, scores: PCollection[Score]) -> PDone:
        """Collects the scores and renders the report."""
        write = functools.partial(_write_reports, self._output, self._diarisation_reference)
        _ = scores | ToList() | beam.Map(write)
        return PDone(scores.pipeline)


class _ScoringDoFn(CountingDoFn):
    """A DoFn that rejects what it fails on."""

    def attempt(self, path: str, attempt: Callable[[], Any]) -> Iterator[Any]:
        try:
            yield with_retries(attempt)
        except Exception as error:
            yield self.reject(path, error)

    def count_scored(self, separated: SeparatedRecording, score: Score) -> Score:
        self.recorder.add(done=1, done_s=separated.record.duration_s)
        return score


class _ReadRecord(_ScoringDoFn):
    def __init__(self, archive: str, counts_folder: str) -> None:
        super().__init__(counts_folder)
        self._archive = archive

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        relative_path, player = element

        def read() -> SeparatedRecording:
            record = read_record(self._archive, relative_path)
            return SeparatedRecording(self._archive, relative_path, record, player)

        yield from self.attempt(record_path(self._archive, relative_path), read)


class _ScoreFiles(_ScoringDoFn):
    def __init__(self, references: References, output: str, counts_folder: str) -> None:
        super().__init__(counts_folder)
        self._references = references
        self._output = output

    def process(self, separated: SeparatedRecording) -> Iterator[Any]:  # type: ignore[override]
        yield from self.attempt(
            separated.record.path,
            lambda: self.count_scored(
                separated, score_against_files(separated, self._references, output=self._output)
            ),
        )


class _FindShard(_ScoringDoFn):
    """Gives each recording the name of the shard that its mixture is in."""

    def __init__(self, dataset: str, counts_folder: str) -> None:
        super().__init__(counts_folder)
        self._dataset = dataset

    def process(self, element: Any) -> Iterator[Any]:
        mixture_id, (recordings, shards) = element
        (shard,) = shards or (None,)
        for separated in recordings:
            if shard is None:
                error = UnscorableError(f"{self._dataset} has no mixture {mixture_id!r}")
                yield self.reject(separated.record.path, error)
            else:
                yield shard, separated


class _ScoreShard(_ScoringDoFn):
    """Reads a shard once, and scores each recording when its mixture comes up."""

    def __init__(
        self, folder: str, dataset: Dataset, rttm: bool, output: str, counts_folder: str
    ) -> None:
        super().__init__(counts_folder)
        self._folder = folder
        self._compressed = bool(dataset.compression)
        self._rttm = rttm
        self._output = output

    def process(self, element: tuple[str, Iterable[SeparatedRecording]]) -> Iterator[Any]:
        name, recordings = element
        path = files.join(self._folder, name)
        wanted: dict[str, list[SeparatedRecording]] = {}
        for separated in recordings:
            wanted.setdefault(separated.mixture_id, []).append(separated)
        error: Exception = UnscorableError(f"{path}: the mixture is not in it")
        try:
            with files.open_file(path, compressed=self._compressed) as file:
                for example in read_records(file):
                    mixture = decode_mixture(example, path)
                    for separated in wanted.pop(mixture.recipe.id, ()):
                        yield from self.attempt(
                            separated.record.path,
                            functools.partial(self._score, separated, mixture),
                        )
        except (CorruptRecordError, OSError, EOFError, zlib.error) as damage:
            error = UnscorableError(f"{path}: {damage}; copy the shard again")
        for separated in (one for several in wanted.values() for one in several):
            yield self.reject(separated.record.path, error)

    def _score(self, separated: SeparatedRecording, mixture: StoredMixture) -> Score:
        score = score_against_mixture(separated, mixture, rttm=self._rttm, output=self._output)
        return self.count_scored(separated, score)


def _list_mixtures(folder: str, dataset_name: str, shard: Shard) -> Iterator[tuple[str, str]]:
    """Yields the id of each mixture in a shard, with the name of the shard's file."""
    with files.open_file(files.join(folder, shard.recipes)) as file:
        for line in file:
            yield json.loads(line)["id"], shard.tfrecord(dataset_name)


def _write_reports(output: str, diarisation_reference: str, scores: Iterable[Score]) -> None:
    in_order = sorted(scores, key=lambda score: score.name)
    if not in_order:
        return
    reports = render_reports(
        [result for score in in_order for result in score.results],
        [score.diarisation for score in in_order if score.diarisation is not None],
        diarisation_reference,
    )
    for name, content in reports.items():
        files.write_text(files.join(output, name), content)

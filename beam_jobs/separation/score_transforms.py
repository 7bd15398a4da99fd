"""The scoring job's transforms: thin shells around `scoring`.

Only names travel between the steps: audio is read where it is measured.
"""

import functools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, PDone, TaggedOutput
from apache_beam.transforms.combiners import ToList

from beam_jobs.runtime.dead_letters import Rejected, write_rejected
from beam_jobs.runtime.retries import with_retries
from beam_jobs.separation.archive_scores import (
    References,
    Score,
    Separated,
    UnscorableError,
    mixture_id,
    score_against_files,
    score_against_mixture,
)
from beam_jobs.separation.archive_transforms import reject
from beam_jobs.storage import files
from schemas.dataset import Dataset, Shard
from schemas.ledger import LEDGER, REJECTED, parse_ledger_record
from schemas.tfrecord import CorruptRecordError, read_records
from scoring.mixtures import decode_mixture
from scoring.report import render_reports

_FOUND = "found"


class ScoreArchive(beam.PTransform[PCollection[tuple[str, str]], PDone]):
    """Writes the report on an archive, and `rejected.jsonl`.

    Input: the `relative_path` and `player` of each recording that the ledger has.
    """

    def __init__(
        self,
        *,
        archive: str,
        against: "ScoreAgainstFiles | ScoreAgainstDataset",
        output: str,
        rejected: Sequence[Rejected] = (),
    ) -> None:
        """Says what is scored.

        Args:
            archive: its folder.
            against: what scores a recording.
            output: the folder of the report.
            rejected: what could not be separated.
        """
        self._archive = archive
        self._against = against
        self._output = output
        self._rejected = rejected

    def expand(self, recordings: PCollection[tuple[str, str]]) -> PDone:
        """Reads the ledger, scores each recording, and writes what it all comes to."""
        ledger = (
            recordings
            | "SpreadRecordings" >> beam.Reshuffle()
            | "ReadLedger"
            >> beam.ParDo(_ReadLedger(self._archive)).with_outputs(REJECTED, main=_FOUND)
        )
        scores, unscored = ledger[_FOUND] | "Score" >> self._against
        _ = (
            scores
            | "ListScores" >> ToList()
            | "WriteReports" >> beam.Map(functools.partial(write_reports, self._output))
        )
        path = files.join(self._output, REJECTED)
        _ = (
            (
                recordings.pipeline | "NotSeparated" >> beam.Create(self._rejected),
                ledger[REJECTED],
                unscored,
            )
            | "AllRejected" >> beam.Flatten()
            | "ListRejected" >> ToList()
            | "WriteRejected" >> beam.Map(lambda all_: write_rejected(path, sorted(all_)))
        )
        return PDone(recordings.pipeline)


class ScoreAgainstFiles(beam.PTransform[PCollection[Separated], Any]):
    """Scores recordings against files. Output: each `Score`, and each `Rejected`."""

    def __init__(self, references: References, *, archive: str, output: str) -> None:
        self._references = references
        self._archive = archive
        self._output = output

    def expand(self, recordings: PCollection[Separated]) -> Any:
        """Scores one recording at a time."""
        scored = (
            recordings
            | "SpreadSeparated" >> beam.Reshuffle()
            | "ScoreFiles"
            >> beam.ParDo(_ScoreFiles(self._references, self._archive, self._output)).with_outputs(
                REJECTED, main=_FOUND
            )
        )
        return scored[_FOUND], scored[REJECTED]


class ScoreAgainstDataset(beam.PTransform[PCollection[Separated], Any]):
    """Scores separated mixtures of a dataset: recordings whose name is a mixture's id.

    Output: each `Score`, and each `Rejected`.
    """

    def __init__(
        self, folder: str, dataset: Dataset, *, rttm: bool, archive: str, output: str
    ) -> None:
        """Says what is scored.

        Args:
            folder: of the dataset.
            dataset: what it says of itself.
            rttm: whether who speaks when is scored, too, against the recipes.
            archive: the folder of the archive.
            output: the folder of the report.
        """
        self._folder = folder
        self._dataset = dataset
        self._rttm = rttm
        self._archive = archive
        self._output = output

    def expand(self, recordings: PCollection[Separated]) -> Any:
        """Brings the recordings to the shards that their mixtures are in."""
        shards = (
            recordings.pipeline
            | "Shards" >> beam.Create([info.shard for info in self._dataset.shards])
            | "SpreadShards" >> beam.Reshuffle()
            | "MixturesOfShards"
            >> beam.FlatMap(functools.partial(list_mixtures, self._folder, self._dataset.name))
        )
        placed = (
            (recordings | "ByMixture" >> beam.WithKeys(mixture_id), shards)
            | "FindMixtures" >> beam.CoGroupByKey()
            | "FindShards"
            >> beam.ParDo(_FindShard(self._folder)).with_outputs(REJECTED, main=_FOUND)
        )
        scored = (
            placed[_FOUND]
            | "ByShard" >> beam.GroupByKey()
            | "ScoreShards"
            >> beam.ParDo(
                _ScoreShard(self._folder, self._dataset, self._rttm, self._archive, self._output)
            ).with_outputs(REJECTED, main=_FOUND)
        )
        rejected = (placed[REJECTED], scored[REJECTED]) | "Unscored" >> beam.Flatten()
        return scored[_FOUND], rejected


class _ReadLedger(beam.DoFn):
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        relative_path, player = element
        path = files.join(self._folder, LEDGER, f"{relative_path}.json")
        yield from _or_reject(
            path,
            lambda: Separated(
                relative_path, player, parse_ledger_record(files.read_text(path), path)
            ),
        )


class _ScoreFiles(beam.DoFn):
    def __init__(self, references: References, archive: str, output: str) -> None:
        self._references = references
        self._archive = archive
        self._output = output

    def process(self, separated: Separated) -> Iterator[Any]:  # type: ignore[override]
        yield from _or_reject(
            separated.record.path,
            lambda: score_against_files(
                separated, self._references, archive=self._archive, output=self._output
            ),
        )


class _FindShard(beam.DoFn):
    def __init__(self, dataset: str) -> None:
        self._dataset = dataset

    def process(self, element: Any) -> Iterator[Any]:
        name, (recordings, shards) = element
        (shard,) = shards or (None,)
        for separated in recordings:
            if shard is None:
                error = UnscorableError(f"{self._dataset} has no mixture {name!r}")
                yield TaggedOutput(REJECTED, reject(separated.record.path, error))
            else:
                yield shard, separated


class _ScoreShard(beam.DoFn):
    def __init__(
        self, folder: str, dataset: Dataset, rttm: bool, archive: str, output: str
    ) -> None:
        self._folder = folder
        self._dataset = dataset
        self._rttm = rttm
        self._archive = archive
        self._output = output

    def process(self, element: tuple[str, Iterable[Separated]]) -> Iterator[Any]:
        name, recordings = element
        path = files.join(self._folder, name)
        wanted: dict[str, list[Separated]] = {}
        for separated in recordings:
            wanted.setdefault(mixture_id(separated), []).append(separated)
        error: Exception = UnscorableError(f"{path}: the mixture is not in it")
        try:
            with files.open_file(path, compressed=bool(self._dataset.compression)) as file:
                for example in read_records(file):
                    mixture = decode_mixture(example, path)
                    for separated in wanted.pop(mixture.recipe.id, ()):
                        yield from _or_reject(
                            separated.record.path,
                            functools.partial(
                                score_against_mixture,
                                separated,
                                mixture,
                                rttm=self._rttm,
                                archive=self._archive,
                                output=self._output,
                            ),
                        )
        except (CorruptRecordError, OSError, EOFError, zlib.error) as damage:
            error = UnscorableError(f"{path}: {damage}; copy the shard again")
        for separated in (one for several in wanted.values() for one in several):
            yield TaggedOutput(REJECTED, reject(separated.record.path, error))


def _or_reject(path: str, attempt: Callable[[], Any]) -> Iterator[Any]:
    try:
        yield with_retries(attempt)
    except Exception as error:
        yield TaggedOutput(REJECTED, reject(path, error))


def list_mixtures(folder: str, dataset_name: str, shard: Shard) -> Iterator[tuple[str, str]]:
    """Yields the id of each mixture in a shard, with the name of the shard's file."""
    with files.open_file(files.join(folder, shard.recipes)) as file:
        for line in file:
            yield json.loads(line)["id"], shard.tfrecord(dataset_name)


def write_reports(output: str, scores: Iterable[Score]) -> None:
    """Writes the report on all recordings, if there are any."""
    in_order = sorted(scores, key=lambda score: score.name)
    if not in_order:
        return
    reports = render_reports(
        [result for score in in_order for result in score.results],
        [score.diarisation for score in in_order if score.diarisation is not None],
    )
    for name, content in reports.items():
        files.write_text(files.join(output, name), content)

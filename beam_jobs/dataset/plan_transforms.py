"""Beam transforms that catalogue the corpora and plan the shards."""

import contextlib
import json
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_jobs.corpora import find_utterances
from beam_jobs.corpora.catalogue import keep_catalogue, take_catalogue
from beam_jobs.corpora.catalogue_transforms import CatalogueUtterances
from beam_jobs.corpora.clean_enough import find_unclean
from beam_jobs.corpora.layout import SOUNDS, Corpus, Found
from beam_jobs.dataset.folder import forget_corpus
from beam_jobs.dataset.kept_catalogue import StaleCatalogueError, check_kept_catalogue
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.given_recipes import find_named_files
from beam_jobs.recipes.plan import NothingToDoError
from beam_jobs.runtime.dead_letters import Rejected, read_rejected, write_rejected
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.runtime.work_counts import CountingDoFn
from beam_jobs.storage import files
from schemas import dataset
from schemas.dataset import Shard


class MakeCatalogue(beam.PTransform[PBegin, PCollection[str]]):
    """Makes the catalogue of a dataset, unless there is one already. Output: its path."""

    def __init__(self, spec: DatasetSpec, *, kept_folder: str) -> None:
        """Makes the transform.

        Args:
            spec: the dataset.
            kept_folder: has a catalogue of the same corpora, or gets a copy for other jobs; empty
                for none.
        """
        self._spec = spec
        self._kept_folder = kept_folder

    def expand(self, root: PBegin) -> PCollection[str]:
        """Finds the files of the corpora and reads their headers."""
        spec = self._spec
        clean_enough = spec.plan_options.config.clean_enough
        path = files.join(spec.folder, dataset.CATALOGUE)
        descriptions = [corpus.description for corpus in spec.corpora]
        if self._kept_folder and not files.exists(path):
            take_catalogue(
                self._kept_folder,
                spec.folder,
                descriptions,
                needs_measures=clean_enough is not None,
            )
            if files.exists(path):
                _check_taken(spec, self._kept_folder)
        is_there = files.exists(path)
        catalogue: PCollection[str]
        if is_there:
            catalogue = root | "Catalogue" >> beam.Create([path])
        else:
            num_speaking = sum(corpus.layout not in SOUNDS for corpus in spec.corpora)
            catalogue = (
                root
                | "FindFiles" >> FindFiles(spec)
                | "CatalogueUtterances"
                >> CatalogueUtterances(
                    folder=spec.folder,
                    corpora=descriptions,
                    corpus_roots=spec.corpus_roots,
                    prefix_names=num_speaking > 1 and spec.given is None,
                    refuse_shared=spec.given is None,
                    measure_speech=clean_enough is not None,
                )
            )
        # Beside one that is there, rejected.jsonl may have what is not clean enough here alone.
        if self._kept_folder and not (is_there and clean_enough):
            catalogue |= "KeepCatalogue" >> beam.Map(keep_catalogue, self._kept_folder)
        if clean_enough is not None:
            catalogue |= "RejectUnclean" >> beam.Map(_reject_unclean, spec)
        return catalogue


def _reject_unclean(catalogue_path: str, spec: DatasetSpec) -> str:
    """Writes down what is not clean enough, and returns the path of the catalogue, unchanged."""
    path = files.join(spec.folder, dataset.REJECTED)
    clean_enough = spec.plan_options.config.clean_enough
    assert clean_enough is not None
    unclean = find_unclean(spec.open_catalogue(), clean_enough, spec.corpus_roots)
    write_rejected(path, sorted({*read_rejected(path), *unclean}))
    return catalogue_path


def _check_taken(spec: DatasetSpec, kept_folder: str) -> None:
    try:
        check_kept_catalogue(spec, kept_folder)
    except StaleCatalogueError:
        forget_corpus(spec.folder)
        raise


class FindFiles(beam.PTransform[PBegin, PCollection[Found]]):
    """Finds the files of the corpora, or where recipes are given, those that the recipes name."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec

    def expand(self, root: PBegin) -> PCollection[Found]:
        """Lists folders and manifests, or reads the files of the recipes."""
        given = self._spec.given
        found: PCollection[Found]
        if given is None:
            found = (
                root
                | "Corpora" >> beam.Create(self._spec.corpora)
                | "FindUtterances" >> beam.ParDo(_FindUtterances(self._spec.folder))
            )
        else:
            found = (
                root
                | "RecipeFiles" >> beam.Create(given.files)
                | "FindNamedFiles" >> beam.FlatMap(find_named_files, given)
                | "KeyByFile" >> beam.WithKeys(_file_key)
                | "GroupByFile" >> beam.GroupByKey()
                | "TakeOnce" >> beam.MapTuple(lambda _, found: min(found, key=str))
            )
        return found


class _FindUtterances(CountingDoFn):
    """Finds the utterances of a corpus. Input: `Corpus`. Output: each candidate."""

    def __init__(self, folder: str) -> None:
        super().__init__(files.join(folder, PROGRESS))

    def process(self, element: Corpus) -> Iterator[Found]:
        for found in find_utterances(element):
            self.recorder.add(found=1)
            yield found


def _file_key(found: Found) -> str:
    corpus, candidate = found
    if isinstance(candidate, Rejected):
        return candidate.path
    return json.dumps([corpus.name, candidate.path, candidate.utterance])


class PlanShards(beam.PTransform[PCollection[str], PCollection[Shard]]):
    """Lists the shards of the dataset. Input: the path of the catalogue. Output: each `Shard`."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec

    def expand(self, catalogue: PCollection[str]) -> PCollection[Shard]:
        """Plans as soon as the catalogue is there, and spreads the shards over the workers."""
        shards: PCollection[Shard] = (
            catalogue
            | "ListShards" >> beam.FlatMap(_list_shards, self._spec)
            | "SpreadShards" >> beam.Reshuffle()
        )
        return shards


def _list_shards(_catalogue_path: str, spec: DatasetSpec) -> Iterator[Shard]:
    # A runner would bury an error raised here in a page of text. Without shards the job ends at
    # once, and the launcher prints the reason in one line.
    with contextlib.suppress(NothingToDoError):
        yield from spec.open_plan().shards

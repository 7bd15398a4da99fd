"""Beam transforms that catalogue the corpora and plan the shards."""

import contextlib
import json
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_jobs.corpora.catalogue import keep_catalogue, take_catalogue
from beam_jobs.corpora.catalogue_transforms import CatalogueUtterances, Found, find_utterances
from beam_jobs.corpora.layout import SOUNDS, Corpus
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.given_recipes import GivenRecipes, find_named_files
from beam_jobs.recipes.plan import NothingToDoError
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas import dataset
from schemas.dataset import Shard


class MakeCatalogue(beam.PTransform[PBegin, PCollection[str]]):
    """Takes the catalogue that is kept, or makes it, where there is none yet. Output: its path."""

    def __init__(self, corpora: Sequence[Corpus], spec: DatasetSpec, *, kept_folder: str) -> None:
        self._corpora = corpora
        self._spec = spec
        self._kept_folder = kept_folder

    def expand(self, root: PBegin) -> PCollection[str]:
        """Finds the files, reads their headers, and keeps what was found for other jobs."""
        path = files.join(self._spec.folder, dataset.CATALOGUE)
        descriptions = [corpus.description for corpus in self._corpora]
        if self._kept_folder and not files.exists(path):
            take_catalogue(self._kept_folder, self._spec.folder, descriptions)
        catalogue: PCollection[str]
        if files.exists(path):
            catalogue = root | "Catalogue" >> beam.Create([path])
        else:
            given = self._spec.given
            num_speaking = sum(corpus.layout not in SOUNDS for corpus in self._corpora)
            catalogue = (
                root
                | "FindFiles" >> FindFiles(self._corpora, given)
                | "CatalogueUtterances"
                >> CatalogueUtterances(
                    folder=self._spec.folder,
                    corpora=descriptions,
                    corpus_roots=self._spec.corpus_roots,
                    prefix_names=num_speaking > 1 and given is None,
                )
            )
        if self._kept_folder:
            catalogue |= "KeepCatalogue" >> beam.Map(keep_catalogue, self._kept_folder)
        return catalogue


class FindFiles(beam.PTransform[PBegin, PCollection[Found]]):
    """Finds what is in the corpora; where recipes are given, what these name."""

    def __init__(self, corpora: Sequence[Corpus], given: GivenRecipes | None) -> None:
        self._corpora = corpora
        self._given = given

    def expand(self, root: PBegin) -> PCollection[Found]:
        """Looks into folders and manifests, or into the files of the recipes."""
        found: PCollection[Found]
        if self._given is None:
            found = (
                root
                | "Corpora" >> beam.Create(self._corpora)
                | "FindUtterances" >> beam.FlatMap(find_utterances)
            )
        else:
            found = (
                root
                | "RecipeFiles" >> beam.Create(self._given.files)
                | "FindNamedFiles" >> beam.FlatMap(find_named_files, self._given)
                | "KeyByFile" >> beam.WithKeys(_file_key)
                | "GroupByFile" >> beam.GroupByKey()
                | "TakeOnce" >> beam.MapTuple(lambda _, found: min(found, key=str))
            )
        return found


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
        """Plans once the catalogue is there, and spreads the shards evenly over the workers."""
        shards: PCollection[Shard] = (
            catalogue
            | "ListShards" >> beam.FlatMap(_list_shards, self._spec)
            | "SpreadShards" >> beam.Reshuffle()
        )
        return shards


def _list_shards(_catalogue_path: str, spec: DatasetSpec) -> Iterator[Shard]:
    # A runner would bury an error from here in a page of text. Without shards the job ends at once,
    # and the launcher says why in one line.
    with contextlib.suppress(NothingToDoError):
        yield from spec.open_plan().shards

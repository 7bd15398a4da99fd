"""The specification of a dataset, which every worker of the job gets."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from beam_jobs.corpora.catalogue import Catalogue, open_catalogue
from beam_jobs.corpora.layout import Corpus
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.given_plan import GivenPlan
from beam_jobs.recipes.given_recipes import GivenRecipes
from beam_jobs.recipes.plan import Plan, PlanOptions
from beam_jobs.runtime.dead_letters import read_rejected
from beam_jobs.runtime.job_folder import PROGRESS
from beam_jobs.storage import files
from schemas import dataset
from schemas.dataset import Shard


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetSpec:
    """Everything that a worker needs to know to make its part of a dataset.

    Attributes:
        folder: of the dataset.
        corpora: of speech, and after them of noise and rooms.
        compression: of the TFRecord files, as TensorFlow calls it.
        plan_options: decide the plan, together with the catalogue.
        given: the recipes to render, or None to draw them.
        layout_names: the layout of each corpus of speech, by the corpus's name; empty where recipes
            are given, which need none.
    """

    folder: str
    corpora: tuple[Corpus, ...]
    compression: Literal["", "GZIP"]
    plan_options: PlanOptions
    given: GivenRecipes | None = None
    layout_names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def dataset_name(self) -> str:
        """The name of the dataset, which the names of its shards begin with."""
        return dataset.dataset_name(self.folder)[0]

    @property
    def version(self) -> str:
        """The version of the dataset, for TensorFlow Datasets."""
        return dataset.dataset_name(self.folder)[1]

    @property
    def corpus_roots(self) -> dict[str, str]:
        """The folder of each corpus, by its name."""
        return {corpus.name: corpus.root for corpus in self.corpora}

    @property
    def has_noise(self) -> bool:
        """True if the mixtures have noise."""
        if self.given is not None:
            return self.given.has_noise
        return self.plan_options.config.noise is not None

    @property
    def has_rooms(self) -> bool:
        """True if the sources sound in rooms."""
        if self.given is not None:
            return self.given.has_rooms
        return self.plan_options.config.rooms is not None

    @property
    def has_transmission(self) -> bool:
        """True if the mixtures go through channels of transmission."""
        if self.given is not None:
            return self.given.has_transmission
        return self.plan_options.config.transmission is not None

    @property
    def enrolment_samples(self) -> int:
        """The length of the enrolment of each speaker in samples; 0 without any."""
        config = self.plan_options.config
        enrolment_s = config.enrolment_s if self.given is None else self.given.enrolment_s
        return round((enrolment_s or 0) * config.sample_rate)

    @property
    def mixture_given(self) -> bool:
        """True if the mixtures are recordings rather than the sums of their parts."""
        return self.given is not None and self.given.mixture_given

    @property
    def instruments(self) -> tuple[str, ...]:
        """The names of the sources, where they are the same in all mixtures; else empty."""
        return self.given.instruments if self.given else ()

    def open_catalogue(self) -> Catalogue:
        """Maps the catalogue in the folder of the dataset into memory."""
        path = files.join(self.folder, dataset.CATALOGUE)
        return open_catalogue(path, self.plan_options.config.clean_enough)

    def open_plan(self) -> Plan:
        """Makes the plan of the dataset from the catalogue in its folder.

        Raises:
            NothingToDoError: no mixtures can be made.
        """
        catalogue = self.open_catalogue()
        if self.given is not None:
            rejected = read_rejected(files.join(self.folder, dataset.REJECTED))
            return GivenPlan(catalogue, self.given, rejected, self.plan_options.num_shards)
        return DrawnPlan(catalogue, self.plan_options)

    def measurements_path(self, shard: Shard) -> str:
        """Returns the path of the measurements of a shard, which are there once it is finished."""
        return files.join(self.folder, PROGRESS, f"{shard}.json")

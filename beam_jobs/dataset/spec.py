"""What every worker knows of the dataset that a job makes."""

import dataclasses
from collections.abc import Mapping

from beam_jobs.corpora.catalogue import open_catalogue
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
    """What a worker needs to know to render a shard.

    Attributes:
        folder: the dataset's.
        dataset_name: what the names of files begin with.
        compression: empty, or GZIP.
        corpus_roots: the folder of each corpus, by its name.
        plan_options: what the plan is made from, besides the catalogue.
        given: recipes to take, instead of drawing them.
    """

    folder: str
    dataset_name: str
    compression: str
    corpus_roots: Mapping[str, str]
    plan_options: PlanOptions
    given: GivenRecipes | None = None

    @property
    def has_noise(self) -> bool:
        """Whether there is noise in the mixtures."""
        if self.given is not None:
            return self.given.has_noise
        return self.plan_options.config.noise is not None

    @property
    def has_rooms(self) -> bool:
        """Whether the mixtures are in rooms."""
        if self.given is not None:
            return self.given.has_rooms
        return self.plan_options.config.rooms is not None

    @property
    def mixture_given(self) -> bool:
        """Whether mixtures are recordings, and not the sums of their parts."""
        return self.given is not None and self.given.mixture_given

    @property
    def instruments(self) -> tuple[str, ...]:
        """The names of the sources, where they are the same in all mixtures."""
        return self.given.instruments if self.given else ()

    def open_plan(self) -> Plan:
        """Makes the plan of the dataset, from its catalogue.

        Raises:
            NothingToDoError: there are no mixtures to be made.
        """
        catalogue = open_catalogue(files.join(self.folder, dataset.CATALOGUE))
        if self.given is not None:
            rejected = read_rejected(files.join(self.folder, dataset.REJECTED))
            return GivenPlan(catalogue, self.given, rejected, self.plan_options.num_shards)
        return DrawnPlan(catalogue, self.plan_options)

    def quality_path(self, shard: Shard) -> str:
        """Where the measurements of a shard are; a shard that has them is finished."""
        return files.join(self.folder, PROGRESS, f"{shard}.json")

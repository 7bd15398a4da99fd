"""Descriptions of mixture jobs: two jobs whose descriptions agree write the same bytes."""

import dataclasses
import json
from typing import Any

from schemas.recipe_config import RecipeConfig, parse_recipe_config
from schemas.validation import list_differences, load_document

VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class MixtureJob:
    """The content of `job.json`.

    Attributes:
        corpora: the corpora as they were given, without their folders.
        config: the configuration from which recipes are drawn.
        seed: of all random numbers.
        splits: `corpus` for the corpus's own, or the share of each split.
        num_mixtures: as asked for; 0 to use every utterance once.
        num_shards: as asked for; 0 to choose.
        compression: of the TFRecord files, as TensorFlow calls it.
        versions: of the software that the bytes depend on.
        recipes: the names and checksums of the files of given recipes.
        plan: the version of the way in which utterances are chosen for mixtures; 1 where recipes
            are given, and in documents without it.
        catalogue: the version of the catalogue that utterances are chosen from; 2 where given
            recipes ask the corpora for no texts, and in documents without it.
    """

    corpora: tuple[str, ...]
    config: RecipeConfig
    seed: int
    splits: str
    num_mixtures: int
    num_shards: int
    compression: str
    versions: tuple[str, ...]
    recipes: tuple[str, ...] = ()
    plan: int = 1
    catalogue: int = 2

    def to_json(self) -> str:
        """Returns the content of `job.json`."""
        return json.dumps(self._document(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def differences(self, other: "MixtureJob") -> list[str]:
        """Lists the settings in which another job differs: name, this job's value, the other's."""
        # Configurations differ in the version of their plan, too.
        if self.plan != other.plan and self.config == other.config:
            return [
                f"planned by another version of this program, plan {self.plan} there and"
                f" {other.plan} here, so that its mixtures are other ones"
            ]
        if self.catalogue != other.catalogue:
            return [
                f"catalogued by another version of this program, catalogue {self.catalogue} there"
                f" and {other.catalogue} here, so that its recipes know other things of utterances"
            ]
        return list_differences(self._document(), other._document())

    def _document(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        config = self.config.to_document()
        del fields["config"]
        document = {"version": VERSION} | fields | {"config": config}
        return json.loads(json.dumps(document))  # type: ignore[no-any-return]


def parse_mixture_job(text: str | bytes, origin: str) -> MixtureJob:
    """Reads what `MixtureJob.to_json` writes.

    Raises:
        InvalidDocumentError: not a mixture job, or one of another version.
    """
    document = load_document(text, "mixture_job", origin)
    del document["version"]
    return MixtureJob(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in document.items()
        }
        | {"config": parse_recipe_config(json.dumps(document["config"]), origin)}
    )

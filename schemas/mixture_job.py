"""What a mixture job was asked for: two jobs that agree in it write the same bytes."""

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
        corpora: what was given as corpora, without where they lie.
        config: what recipes are drawn from.
        seed: of all random numbers.
        splits: `corpus`, or the shares.
        num_mixtures: as asked for; 0 to use every utterance once.
        num_shards: as asked for; 0 to choose.
        compression: of the TFRecord files, as TensorFlow calls it.
        versions: of the software that the bytes depend on.
        recipes: the names and checksums of the files of given recipes.
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

    def to_json(self) -> str:
        """The content of `job.json`."""
        return json.dumps(self._document(), indent=1, ensure_ascii=False) + "\n"

    def differences(self, other: "MixtureJob") -> list[str]:
        """What another job has otherwise: the name, this job's value and the other's."""
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

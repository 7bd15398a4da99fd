"""A folder for each mixture: `train/ID/mixture.wav`, a file for each source, and the recipe."""

from collections.abc import Iterator, Mapping

from beam_jobs.export.layout import ExportLayout, all_audio, file_name
from schemas.dataset import Dataset
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm


def audio(mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
    """Yields the mixture, its sources, and its noise."""
    return all_audio(f"{_folder(mixture)}/", mixture, described)


def texts(mixture: StoredMixture) -> Mapping[str, str]:
    """Returns the recipe, which has the speakers and their times."""
    return {f"{_folder(mixture)}/recipe.json": mixture.recipe.to_json() + "\n"}


def _folder(mixture: StoredMixture) -> str:
    return f"{mixture.recipe.split}/{file_name(mixture.recipe.id)}"


LAYOUT = ExportLayout("folders", "wav", audio, texts=texts)

"""A folder for each mixture: `train/ID/mixture.wav`, a file for each source, and the recipe.

Beside them, `mixture.rttm` has who speaks when, and `mixture.stm` what they say.
"""

from collections.abc import Iterator, Mapping

from beam_jobs.export.layout import ExportLayout, all_audio, describe_mixture, file_name
from beam_jobs.export.speech_files import format_speech
from schemas.dataset import Dataset
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm


def audio(mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
    """Yields all audio of a mixture, without files for silent rows."""
    return all_audio(f"{_folder(mixture)}/", mixture, described)


def texts(mixture: StoredMixture) -> Mapping[str, str]:
    """Returns the recipe, and who says what when."""
    folder = _folder(mixture)
    speech = format_speech(f"{folder}/mixture", describe_mixture(mixture))
    return {f"{folder}/recipe.json": mixture.recipe.to_json() + "\n", **speech}


def _folder(mixture: StoredMixture) -> str:
    return f"{mixture.recipe.split}/{file_name(mixture.recipe.id)}"


LAYOUT = ExportLayout("folders", "wav", audio, texts=texts)

"""A folder for each mixture: `train/ID/mixture.wav`, a file for each source, and the recipe."""

from collections.abc import Iterator, Mapping, Sequence

from beam_jobs.export.layout import Export, Table, file_name, source_names
from schemas.dataset import Dataset, Shard
from schemas.ledger import AudioFormat
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm

NAME = "folders"
AUDIO_FORMAT: AudioFormat = "wav"


def check(described: Dataset) -> None:
    """Accepts every dataset."""
    del described


def audio(mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
    """Yields the mixture, its sources, and its noise."""
    folder = _folder(mixture)
    yield f"{folder}/mixture", mixture.mixture
    for name, source in zip(source_names(described), mixture.sources, strict=True):
        yield f"{folder}/{name}", source
    if mixture.noise is not None:
        yield f"{folder}/noise", mixture.noise


def texts(mixture: StoredMixture) -> Mapping[str, str]:
    """Returns the recipe, which has the speakers and their times."""
    return {f"{_folder(mixture)}/recipe.json": mixture.recipe.to_json() + "\n"}


def archive(shard: Shard) -> None:
    """Leaves the files in folders."""
    del shard


def tables(export: Export, split: str) -> Sequence[Table]:
    """Returns no tables."""
    del export, split
    return ()


def documents(export: Export) -> Mapping[str, str]:
    """Returns no files."""
    del export
    return {}


def _folder(mixture: StoredMixture) -> str:
    return f"{mixture.recipe.split}/{file_name(mixture.recipe.id)}"

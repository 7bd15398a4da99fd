"""Tars of FLAC and JSON, which WebDataset and Hugging Face's datasets read.

One for each shard: `train-00000-of-00008.tar` with `ID.mixture.flac`, a file for each source, and
`ID.json`. Both tools make an example of the files whose names agree up to the first dot.

Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping

from beam_jobs.export.layout import (
    ExportLayout,
    all_audio,
    describe_mixture,
    file_name,
)
from schemas.dataset import Dataset, Shard
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm


def audio(mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
    """Yields all audio of a mixture.

    Silent rows have files, too: Hugging Face's datasets refuses examples that differ in their keys.
    """
    return all_audio(f"{_key(mixture)}.", mixture, described, silent_rows=True)


def texts(mixture: StoredMixture) -> Mapping[str, str]:
    """Returns what the records of the dataset have beside the audio, and who speaks when.

    Hugging Face's datasets takes the types of the first examples for those of all, so every value
    has one type in all mixtures; the recipe, whose parts come and go, is text.
    """
    recipe, entry = mixture.recipe, describe_mixture(mixture)
    description = {
        "id": recipe.id,
        "split": recipe.split,
        "sample_rate": recipe.sample_rate,
        "num_samples": entry.num_samples,
        "speakers": entry.speakers,
        "genders": entry.genders,
        "offsets_s": [float(offset_s) for offset_s in entry.offsets_s],
        "gains_db": mixture.own_gains_db,
        "overlap_ratio": float(entry.overlap_ratio),
        "speech": [dataclasses.asdict(stretch) for stretch in entry.speech],
        "recipe": recipe.to_json(),
    }
    return {f"{_key(mixture)}.json": json.dumps(description, ensure_ascii=False)}


def archive(shard: Shard) -> str:
    """Returns the name of the tar of a shard, by which datasets knows its split."""
    return f"{shard}.tar"


def _key(mixture: StoredMixture) -> str:
    return file_name(mixture.recipe.id).replace(".", "%2E")


LAYOUT = ExportLayout("webdataset", "flac", audio, texts=texts, archive=archive)

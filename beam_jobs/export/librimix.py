"""The folders and tables of LibriMix, which asteroid and SpeechBrain read.

`Libri2Mix/wav8k/min/train-360/{mix_clean,s1,s2}/ID.wav`, and `.../metadata/*.csv` with the paths.
Of the names of LibriMix's two training sets, `train-360` is the one that both tools look for.

Source: https://github.com/JorisCos/LibriMix, scripts/create_librimix_from_metadata.py (Cosentino et
al., 2020).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.export.layout import (
    Export,
    ExportLayout,
    Table,
    TableEntry,
    csv_table,
    file_name,
    speaker_fields,
)
from beam_jobs.storage import files
from schemas.dataset import Dataset
from schemas.errors import UserError
from schemas.mixture import StoredMixture
from schemas.pcm import MAX_PCM, MIN_PCM, Pcm

_SUBSETS = {"train": "train-360", "validation": "dev", "test": "test"}


def check(described: Dataset) -> None:
    """Refuses stereo: LibriMix is mono, as are the tools that read it.

    Raises:
        UserError: the dataset is stereo.
    """
    if described.num_channels > 1:
        raise UserError(
            f"--layout=librimix is mono, and {described.name} is stereo: take another --layout, or"
            " build the dataset with channels 'average'"
        )


def audio(mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
    """Yields the sources, the noise, the mixtures of LibriMix's tasks, and the degraded ones.

    Silent rows have files, too: both tools read as many sources of each mixture.
    """
    recipe = mixture.recipe
    folder = f"{_folder(described)}/{_SUBSETS[recipe.split]}"
    name = file_name(recipe.id)
    for number, source in enumerate(mixture.sources, 1):
        yield f"{folder}/s{number}/{name}", source
    if mixture.noise is None:
        yield f"{folder}/mix_clean/{name}", mixture.mixture
    else:
        yield f"{folder}/noise/{name}", mixture.noise
        yield f"{folder}/mix_clean/{name}", _sum(mixture.sources)
        yield f"{folder}/mix_both/{name}", mixture.mixture
        yield f"{folder}/mix_single/{name}", _sum(np.stack([mixture.sources[0], mixture.noise]))
    if mixture.degraded is not None:
        yield f"{folder}/mix_degraded/{name}", mixture.degraded


def tables(export: Export, split: str) -> Sequence[Table]:
    """Returns a table for each of LibriMix's tasks, and one for degraded mixtures."""
    described = export.described
    sources = [f"source_{number}_path" for number in range(1, described.num_sources + 1)]
    tasks = {"mix_clean": sources}
    if export.has_noise:
        tasks["mix_both"] = [*sources, "noise_path"]
        tasks["mix_single"] = ["source_1_path", "noise_path"]
    if export.has_degraded:
        tasks["mix_degraded"] = sources
    return [_table(export, split, task, parts) for task, parts in tasks.items()]


def _table(export: Export, split: str, task: str, parts: Sequence[str]) -> Table:
    folder, subset = _folder(export.described), _SUBSETS[split]

    def path(subfolder: str, name: str) -> str:
        # Absolute, as LibriMix writes them: asteroid opens them from wherever it runs.
        file = f"{folder}/{subset}/{subfolder}/{name}.{export.audio_format}"
        return files.join(export.output, file)

    columns = ["mixture_ID", "mixture_path", *parts, "length"]
    num_sources = sum(part.startswith("source") for part in parts)
    for number in range(1, num_sources + 1):
        columns += [f"source_{number}_{name}" for name in ("speaker", "gender", "offset_s")]
    if num_sources > 1:
        columns.append("overlap_ratio")

    def fields(entry: TableEntry) -> list[object]:
        subfolders = [task, *(_subfolder(part) for part in parts)]
        paths = [path(subfolder, entry.name) for subfolder in subfolders]
        speakers = speaker_fields(entry, num_sources)
        overlap_ratio = [entry.overlap_ratio] if num_sources > 1 else []
        return [entry.name, *paths, entry.num_samples, *speakers, *overlap_ratio]

    return csv_table(f"{folder}/metadata/mixture_{subset}_{task}.csv", columns, fields)


def _subfolder(column: str) -> str:
    return "noise" if column == "noise_path" else f"s{column.split('_')[1]}"


def _folder(described: Dataset) -> str:
    # SpeechBrain only looks into `min`; all files of a mixture have the same length in any case.
    return f"Libri{described.num_sources}Mix/wav{described.sample_rate / 1000:g}k/min"


def _sum(parts: Pcm) -> Pcm:
    # The sum of all parts never clips, but that of some of them may.
    total: Pcm = np.clip(parts.sum(axis=0, dtype=np.int32), MIN_PCM, MAX_PCM).astype(np.int16)
    return total


LAYOUT = ExportLayout("librimix", "wav", audio, check=check, tables=tables)

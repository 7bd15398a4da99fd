"""The folders and tables of LibriMix, which asteroid and SpeechBrain read.

`Libri2Mix/wav8k/min/train-360/{mix_clean,s1,s2}/ID.wav`, and `.../metadata/*.csv` with the paths.
Of the names of LibriMix's two training sets, `train-360` is the one that both tools look for.

Source: https://github.com/JorisCos/LibriMix, scripts/create_librimix_from_metadata.py (Cosentino et
al., 2020). LibriMix has no enrolments; their table is SpeakerBeam's,
https://github.com/BUTSpeechFIT/speakerbeam, egs/libri2mix/local (Zmolikova et al., 2021).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.export.layout import (
    ENROLMENT,
    Export,
    ExportLayout,
    Table,
    TableEntry,
    csv_row,
    csv_table,
    file_name,
    speaker_fields,
)
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
    """Yields the sources, noise, mixtures of LibriMix's tasks, degraded ones, and enrolments.

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
    if mixture.enrolments is not None:
        for number, enrolment in enumerate(mixture.enrolments, 1):
            yield f"{folder}/s{number}_{ENROLMENT}/{name}", enrolment


def tables(export: Export, split: str) -> Sequence[Table]:
    """Returns a table for each of LibriMix's tasks, for degraded mixtures, and for enrolments."""
    described = export.described
    sources = [f"source_{number}_path" for number in range(1, described.num_sources + 1)]
    tasks = {"mix_clean": sources}
    if export.has_noise:
        tasks["mix_both"] = [*sources, "noise_path"]
        tasks["mix_single"] = ["source_1_path", "noise_path"]
    if export.has_degraded:
        tasks["mix_degraded"] = sources
    of_tasks = [_table(export, split, task, parts) for task, parts in tasks.items()]
    return [*of_tasks, _enrolment_table(export, split)] if export.enrolment_samples else of_tasks


def _path(export: Export, split: str, subfolder: str, name: str) -> str:
    # Absolute, as LibriMix writes them: asteroid opens them from wherever it runs.
    folder = f"{_folder(export.described)}/{_SUBSETS[split]}/{subfolder}"
    return export.path(f"{folder}/{name}.{export.audio_format}")


def _enrolment_table(export: Export, split: str) -> Table:
    """Returns a table of one line for each speaker in a mixture, whose utterance is `s1`, `s2`."""

    def lines(entry: TableEntry) -> str:
        return "".join(
            csv_row(
                [
                    entry.name,
                    f"s{number}",
                    _path(export, split, f"s{number}_{ENROLMENT}", entry.name),
                    export.enrolment_samples,
                ]
            )
            for number, _ in enumerate(entry.speakers, 1)
        )

    # In a folder of its own, by the name that SpeakerBeam looks for beside a subset's mixtures.
    path = f"{_folder(export.described)}/metadata/{_SUBSETS[split]}/mixture2enrollment.csv"
    return Table(path, lines, csv_row(["mixture_id", "utterance_id", "enr_path1", "length1"]))


def _table(export: Export, split: str, task: str, parts: Sequence[str]) -> Table:
    folder, subset = _folder(export.described), _SUBSETS[split]
    columns = ["mixture_ID", "mixture_path", *parts, "length"]
    num_sources = sum(part.startswith("source") for part in parts)
    for number in range(1, num_sources + 1):
        columns += [f"source_{number}_{name}" for name in ("speaker", "gender", "offset_s")]
    if num_sources > 1:
        columns.append("overlap_ratio")

    def fields(entry: TableEntry) -> list[object]:
        subfolders = [task, *(_subfolder(part) for part in parts)]
        paths = [_path(export, split, subfolder, entry.name) for subfolder in subfolders]
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

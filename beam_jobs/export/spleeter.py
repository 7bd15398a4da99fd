"""The files that stock `spleeter train` reads: a CSV for each split, and a configuration.

Source: https://github.com/deezer/spleeter/wiki/5.-Training-with-your-own-data.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from beam_jobs.export.layout import (
    DEGRADED,
    Export,
    ExportLayout,
    Table,
    TableEntry,
    csv_table,
    file_name,
    source_names,
    speaker_fields,
)
from beam_jobs.storage import files
from schemas.dataset import Dataset
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm

CONFIGURATION = "configuration.json"

_MIX = "mix"


def audio(mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
    """Yields the mixture, its sources, and what became of it; its noise has no file.

    Silent rows have files, too: Spleeter reads the file of each instrument.
    """
    recipe = mixture.recipe
    folder = f"{recipe.split}/{file_name(recipe.id)}"
    yield f"{folder}/{_MIX}", mixture.mixture
    for name, source in zip(source_names(described), mixture.sources, strict=True):
        yield f"{folder}/{name}", source
    if mixture.degraded is not None:
        yield f"{folder}/{DEGRADED}", mixture.degraded


def tables(export: Export, split: str) -> Sequence[Table]:
    """Returns one table, with paths relative to the output, which is Spleeter's `--data`.

    Behind Spleeter's own columns, which are all that it uses, are those that tell of the speakers.
    The last one is that of degraded mixtures, with the `mix_name` for which Spleeter uses them.
    """
    sources = source_names(export.described)
    names = [_MIX, *sources]
    columns = [*(f"{name}_path" for name in names), "duration"]
    if not export.described.instruments:
        for name in sources:
            columns += [f"{name}_id", f"{name}_gender", f"{name}_offset_s"]
        columns.append("overlap_ratio")
    if export.has_degraded:
        columns.append(f"{DEGRADED}_path")

    def path(entry: TableEntry, name: str) -> str:
        return f"{split}/{entry.name}/{name}.{export.audio_format}"

    def fields(entry: TableEntry) -> list[object]:
        row: list[object] = [path(entry, name) for name in names]
        row.append(entry.num_samples / export.described.sample_rate)
        if not export.described.instruments:
            row += [*speaker_fields(entry, len(sources)), entry.overlap_ratio]
        if export.has_degraded:
            row.append(path(entry, DEGRADED))
        return row

    return [csv_table(f"{split}.csv", columns, fields)]


def documents(export: Export) -> Mapping[str, str]:
    """Returns a configuration that trains a U-Net with Spleeter's own values for music.

    The frames of its STFT are a power of two that is at least a sixteenth of a second long; those
    of Spleeter are 4096 samples at 44.1 kHz, 93 ms.
    """
    described = export.described
    frame_length = 2 ** math.ceil(math.log2(described.sample_rate / 16))
    splits = {"train_csv": "train", "validation_csv": "validation"}
    configuration = {
        **{
            key: files.join(export.output, f"{split}.csv")
            for key, split in splits.items()
            if described.split_shards(split)
        },
        "model_dir": files.join(export.output, "model"),
        "training_cache": files.join(export.output, "cache", "training"),
        "validation_cache": files.join(export.output, "cache", "validation"),
        "mix_name": _MIX,
        "instrument_list": source_names(described),
        "sample_rate": described.sample_rate,
        "frame_length": frame_length,
        "frame_step": frame_length // 4,
        "T": 256,
        "F": min(frame_length // 2, 1024),
        "n_channels": described.num_channels,
        "n_chunks_per_song": 1,
        "separation_exponent": 2,
        "mask_extension": "zeros",
        "learning_rate": 1e-4,
        "batch_size": 4,
        "train_max_steps": 100_000,
        "throttle_secs": 600,
        "random_seed": 3,
        "save_checkpoints_steps": 300,
        "save_summary_steps": 5,
        "model": {
            "type": "unet.unet",
            "params": {"conv_activation": "ELU", "deconv_activation": "ELU"},
        },
    }
    return {CONFIGURATION: json.dumps(configuration, indent=1) + "\n"}


LAYOUT = ExportLayout("spleeter", "wav", audio, tables=tables, documents=documents)

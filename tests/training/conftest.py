import dataclasses
import gzip
import io
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Literal

import google_crc32c
import numpy as np
import numpy.typing as npt
import pytest

from schemas.configuration import Configuration, parse_configuration
from schemas.dataset import (
    COMPLETED,
    DATASET,
    FEATURES,
    Dataset,
    Shard,
    ShardInfo,
    features_document,
)
from schemas.recipe import Recipe, Source
from schemas.tfrecord import encode_example, write_record

MIXTURES_PER_SHARD = 4


def voice(
    speaker: int, num_samples: int, sample_rate: int, seed: list[int]
) -> npt.NDArray[np.float64]:
    """A hum with the harmonics of one speaker's pitch, in syllables with pauses between them."""
    random = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / sample_rate
    pitch_hz = 90.0 * 1.35**speaker * (1 + 0.05 * np.sin(2 * np.pi * 3 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate
    formant_hz = 500 + 300 * random.random()
    harmonics = range(1, int(sample_rate / 2 / pitch_hz.max()))
    tone = np.zeros(num_samples)
    for n in harmonics:
        tone += np.sin(n * phase) / (1 + abs(n * pitch_hz.mean() - formant_hz) / 200)
    syllables = np.repeat(
        random.random(num_samples // (sample_rate // 5) + 1) > 0.2, sample_rate // 5
    )
    return 0.05 * tone * syllables[:num_samples]


def write_dataset(
    folder: Path,
    *,
    sample_rate: int = 8000,
    num_sources: int = 2,
    duration_s: float = 3.0,
    num_mixtures: dict[str, int] | None = None,
    offset_s: float = 1.0,
    reverse_order: bool = False,
    compression: Literal["", "GZIP"] = "",
    degraded: bool = False,
    silent_rows: bool = False,
) -> Path:
    """Writes a finished dataset of generated voices, four mixtures to a shard.

    Degraded mixtures are upside down. With silent rows, mixtures have one source, two and so on up
    to `num_sources`, in turn.
    """
    offsets_s = [slot * offset_s for slot in range(num_sources)]
    if reverse_order:
        offsets_s.reverse()
    shards = []
    folder.mkdir(parents=True)
    for split, count in (num_mixtures or {"train": 8, "validation": 4, "test": 4}).items():
        num_shards = -(-count // MIXTURES_PER_SHARD)
        for index in range(num_shards):
            shard = Shard(split, index, num_shards)
            path = folder / shard.tfrecord("voices")
            numbers = range(
                index * MIXTURES_PER_SHARD, min((index + 1) * MIXTURES_PER_SHARD, count)
            )
            records = io.BytesIO()
            for number in numbers:
                recipe = _recipe(split, number, sample_rate, duration_s, offsets_s)
                if degraded:
                    recipe = dataclasses.replace(recipe, transmission=())
                if silent_rows:
                    own = recipe.sources[: 1 + number % num_sources]
                    recipe = dataclasses.replace(recipe, sources=own)
                write_record(records, _example(recipe, num_sources))
            content = records.getvalue()
            if compression:
                content = gzip.compress(content)
            path.write_bytes(content)
            digest = f"{google_crc32c.value(content):08x}"
            shards.append(ShardInfo(shard, len(numbers), len(content), digest))
    dataset = Dataset(
        "voices", sample_rate, num_sources, compression, tuple(shards), silent_rows=silent_rows
    )
    (folder / DATASET).write_text(dataset.to_json())
    (folder / FEATURES).write_text(
        json.dumps(features_document(num_sources, transmission=degraded))
    )
    (folder / COMPLETED).touch()
    return folder


def _recipe(
    split: str, number: int, sample_rate: int, duration_s: float, offsets_s: list[float]
) -> Recipe:
    speakers = [(number + slot) % (len(offsets_s) + 2) for slot in range(len(offsets_s))]
    return Recipe(
        id=f"{split}-{number:09d}",
        split=split,
        sample_rate=sample_rate,
        duration_s=duration_s,
        channels="average",
        sources=tuple(
            Source(
                utterance=f"{speaker}-{number}",
                corpus="generated",
                path=f"{speaker}-{number}.wav",
                speaker=f"speaker-{speaker}",
                gender="fm"[speaker % 2],
                start=0,
                stop=round((duration_s - offset_s) * sample_rate),
                file_sample_rate=sample_rate,
                offset_s=offset_s,
                level_kind="gain_db",
                level=0.0,
            )
            for speaker, offset_s in zip(speakers, offsets_s, strict=True)
        ),
    )


def _example(recipe: Recipe, num_sources: int) -> bytes:
    sources = np.zeros((num_sources, recipe.num_samples), np.int16)
    num_silent = num_sources - len(recipe.sources)
    for slot, source in enumerate(recipe.sources):
        seed = list(f"{recipe.id} {slot}".encode())
        speaker = int(source.speaker.removeprefix("speaker-"))
        samples = voice(speaker, source.stop, recipe.sample_rate, seed)
        sources[slot, recipe.num_samples - source.stop :] = np.round(samples * 32767)
    mixture = sources.sum(axis=0, dtype=np.int16)
    return encode_example(
        ({} if recipe.transmission is None else {"degraded": (-mixture).tobytes()})
        | {
            "id": recipe.id.encode(),
            "mixture": mixture.tobytes(),
            "sources": sources.tobytes(),
            "sample_rate": [recipe.sample_rate],
            "speakers": [*(one.speaker.encode() for one in recipe.sources), *[b""] * num_silent],
            "offsets_s": [*(float(one.offset_s) for one in recipe.sources), *[0.0] * num_silent],
            "gains_db": [0.0] * num_sources,
            "recipe": recipe.to_json().encode(),
        }
    )


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes a dataset of generated voices; the arguments are those of `write_dataset`."""

    def make(name: str = "voices", **arguments: object) -> Path:
        return write_dataset(tmp_path / name, **arguments)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def dataset_writer() -> Callable[..., Path]:
    """`write_dataset`, for a dataset that several tests read."""
    return write_dataset


def shipped(name: str, **changes: object) -> Configuration:
    """One of the shipped configurations, with other values for some keys."""
    text = resources.files("training").joinpath(f"configs/{name}.json").read_text("utf-8")
    return parse_configuration(json.dumps(json.loads(text) | changes), f"{name}.json")


@pytest.fixture
def configuration() -> Callable[..., Configuration]:
    return shipped

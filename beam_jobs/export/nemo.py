"""NeMo's manifests: of the mixtures, and of each utterance in the file of its source.

`train/ID.wav` is a mixture, beside `ID.rttm` and `ID.stm`, and `train/ID-first_speaker.wav` one of
its sources. `train_mixtures.json` is for diarisation, `train_utterances.json` for recognition.

Source: NVIDIA NeMo, "Speaker Diarization: Datasets" and "Preparing Custom ASR Data".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_jobs.export.layout import (
    Export,
    ExportLayout,
    Table,
    TableEntry,
    all_audio,
    describe_mixture,
    file_name,
    source_names,
)
from beam_jobs.export.speech_files import format_speech
from schemas.dataset import Dataset
from schemas.mixture import StoredMixture
from schemas.pcm import Pcm


def audio(mixture: StoredMixture, described: Dataset) -> Iterator[tuple[str, Pcm]]:
    """Yields all audio of the mixture, in the folder of its split.

    NeMo knows recordings by the names of their files, whatever the folder.
    """
    for part, samples in all_audio("", mixture, described):
        yield _path(mixture) if part == "mixture" else f"{_path(mixture)}-{part}", samples


def texts(mixture: StoredMixture) -> Mapping[str, str]:
    """Returns who says what when."""
    return format_speech(_path(mixture), describe_mixture(mixture))


def tables(export: Export, split: str) -> Sequence[Table]:
    """Returns the two manifests of a split."""
    names = source_names(export.described)

    def path(name: str) -> str:
        # Absolute, as NeMo's own scripts write them: it opens them from wherever it runs.
        return export.path(f"{split}/{name}")

    def mixture(entry: TableEntry) -> str:
        return _line(
            {
                "audio_filepath": path(f"{entry.name}.{export.audio_format}"),
                "offset": 0,
                "duration": entry.num_samples / export.described.sample_rate,
                "label": "infer",
                "text": "-",
                "num_speakers": len({one.source for one in entry.speech}),
                "rttm_filepath": path(f"{entry.name}.rttm"),
            }
        )

    def utterances(entry: TableEntry) -> str:
        return "".join(
            _line(
                {
                    "audio_filepath": path(
                        f"{entry.name}-{names[one.source]}.{export.audio_format}"
                    ),
                    "offset": one.start_s,
                    "duration": one.duration_s,
                    "speaker": entry.speakers[one.source],
                    **({"text": one.text} if one.text else {}),
                    **({"lang": one.language} if one.language else {}),
                }
            )
            for one in entry.speech
        )

    return [
        Table(f"{split}_mixtures.json", mixture),
        Table(f"{split}_utterances.json", utterances),
    ]


def _path(mixture: StoredMixture) -> str:
    return f"{mixture.recipe.split}/{file_name(mixture.recipe.id)}"


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False) + "\n"


LAYOUT = ExportLayout("nemo", "wav", audio, texts=texts, tables=tables)

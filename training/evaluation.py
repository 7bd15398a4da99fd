"""Scoring trained models on the split `test`, between two bounds on the same audio."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import tensorflow as tf

from command_line.progress import Progress, ProgressBar
from schemas.errors import UserError
from schemas.mixture import decode_mixture, mix_down
from schemas.pcm import Samples
from scoring.evaluation import NUM_PLAYERS, Players, score_with_bounds
from scoring.metrics import Block, source_levels_db
from scoring.report import render_reports
from scoring.report_files import AUDIO, DOCUMENT, PAGE, TEXT
from scoring.results import Result, find_groups
from training.input import MixtureDataset, open_dataset, read_examples
from training.local_files import write_atomically, write_text
from training.model_dir import ModelDir
from training.output_folder import make_folder

Separate = Callable[[Samples], Samples]
"""Separates a mixture, float32 [samples], into float32 [sources, samples]."""


def evaluate(model_dirs: list[str], dataset: str, output: str) -> str:
    """Scores models on the split `test`, writes the report, and returns it as text.

    Args:
        model_dirs: the models' folders, whose names are the models'.
        dataset: the folder of the dataset.
        output: the folder of the report.

    Raises:
        ModelDirError: one of the folders holds no trained model.
        UnfinishedDatasetError: the dataset's folder holds no dataset, or an unfinished one.
        UnusableDatasetError: the dataset is damaged, or does not fit one of the models.
        CorruptRecordError: one of the dataset's files is damaged.
        UserError: two models have one name, or one is for degraded mixtures and another is not.
        OutputFolderError: the folder of the report holds something else, or can't be made.
    """
    make_folder(output, option="--output", own_names=(AUDIO, DOCUMENT, PAGE, TEXT))
    separators: dict[str, Separate] = {}
    degraded: dict[bool, str] = {}
    for model_dir in model_dirs:
        name = PurePosixPath(model_dir.rstrip("/")).name
        if name in separators:
            raise UserError(f"two models are called {name}; the last folder's name is the model's")
        configuration, separator = ModelDir(model_dir).load_best()
        opened = open_dataset(dataset, configuration, ["test"])
        degraded[configuration.mixture == "degraded"] = name
        separators[name] = _separate_with(separator.separate, configuration.n_channels)
    if len(degraded) > 1:
        raise UserError(
            f"{degraded[True]} is for degraded mixtures and {degraded[False]} is not: compare"
            " models that hear the same"
        )
    audio = Path(output) / AUDIO
    audio.mkdir(parents=True, exist_ok=True)
    with ProgressBar() as bar:
        results = _score_mixtures(opened, separators, True in degraded, audio, bar)
    reports = render_reports(results)
    for name, content in reports.items():
        write_text(Path(output) / name, content)
    return reports[TEXT]


def _score_mixtures(
    dataset: MixtureDataset,
    separators: Mapping[str, Separate],
    are_degraded: bool,
    audio: Path,
    bar: ProgressBar,
) -> list[Result]:
    def write_player(name: str, flac: bytes) -> None:
        with write_atomically(audio / name) as file:
            file.write(flac)

    num_mixtures = dataset.num_mixtures("test")
    results: list[Result] = []
    done_s = 0.0
    for number, example in enumerate(read_examples(dataset, "test")):
        stored = decode_mixture(example, dataset.folder)
        heard = stored.degraded if are_degraded else stored.mixture
        assert heard is not None
        mixture, sources = mix_down(heard), mix_down(stored.sources)
        recipe = stored.recipe
        players = Players(recipe.id, write_player)
        results += score_with_bounds(
            recipe.id,
            {
                name: Block(separate(mixture), sources, mixture).alone
                for name, separate in separators.items()
            },
            recipe.sample_rate,
            groups=find_groups(source_levels_db([sources]), recipe),
            players=players if number < NUM_PLAYERS else None,
        )
        done_s += recipe.duration_s
        text = (
            f"{number + 1:,}/{num_mixtures:,} mixtures, {done_s / 3600:.2f} h of audio,"
            f" {(number + 1) / bar.elapsed_s:.1f} mixtures/s"
        )
        progress = Progress(text, number + 1, num_mixtures)
        bar.show_at_times(progress)
    bar.show(progress)
    return results


def _separate_with(separate: Callable[[tf.Tensor], tf.Tensor], num_channels: int) -> Separate:
    signature = [tf.TensorSpec([None, None, num_channels], tf.float32)]
    function = tf.function(separate, input_signature=signature, autograph=False)

    def separate_mono(mixture: Samples) -> Samples:
        waveform = np.repeat(mixture[np.newaxis, :, np.newaxis], num_channels, axis=2)
        estimates: Samples = function(waveform)[0].numpy().mean(axis=-1)
        return estimates

    return separate_mono

"""Compares models: `python -m training.evaluate --model_dir DIR --dataset TEST --output REPORT`.

Each model separates the mixtures of the split `test`, and is scored between two bounds on the same
audio: the unprocessed mixture and the ideal ratio mask. REPORT is a folder with `report.txt`,
`report.json`, and `report.html` with audio players.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import tensorflow as tf

from schemas.errors import UserError
from schemas.mixture import decode_mixture, mix_down
from schemas.pcm import Samples
from scoring.evaluation import NUM_PLAYERS, Players, score_with_bounds
from scoring.metrics import Block, source_levels_db
from scoring.page import AUDIO
from scoring.report import TEXT, render_reports
from scoring.results import Result, find_groups
from training.errors import FILE_ERRORS
from training.input import open_dataset, read_examples
from training.model_dir import ModelDir

_LOG = logging.getLogger(__name__)

Separate = Callable[[Samples], Samples]
"""Separates a mixture, float32 [samples], into float32 [sources, samples]."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--model_dir", action="append", required=True, help="may be repeated")
    parser.add_argument("--dataset", required=True, help="the folder of a mixture dataset")
    parser.add_argument("--output", required=True, help="the folder of the report")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        results = evaluate(options.model_dir, options.dataset, options.output)
    except (UserError, *FILE_ERRORS) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(render_reports(results)[TEXT])
    return 0


def evaluate(model_dirs: list[str], dataset: str, output: str) -> list[Result]:
    """Scores models on the split `test` and writes the report.

    Args:
        model_dirs: the models' folders, whose names are the models'.
        dataset: the folder of the dataset.
        output: the folder of the report.

    Raises:
        ModelDirError: one of the folders holds no trained model.
        UnfinishedDatasetError: the dataset's folder holds no dataset, or an unfinished one.
        UnusableDatasetError: the dataset is damaged, or does not fit one of the models.
        CorruptRecordError: one of the dataset's files is damaged.
        UserError: two models have one name.
    """
    separators: dict[str, Separate] = {}
    for model_dir in model_dirs:
        name = PurePosixPath(model_dir.rstrip("/")).name
        if name in separators:
            raise UserError(f"two models are called {name}; the last folder's name is the model's")
        configuration, separator = ModelDir(model_dir).load_best()
        opened = open_dataset(dataset, configuration, ["test"])
        separators[name] = _separate_with(separator.separate, configuration.n_channels)
    audio = Path(output) / AUDIO
    audio.mkdir(parents=True, exist_ok=True)
    results = []
    for number, example in enumerate(read_examples(opened, "test")):
        stored = decode_mixture(example, dataset)
        mixture, sources = mix_down(stored.mixture), mix_down(stored.sources)
        recipe = stored.recipe
        players = Players(recipe.id, lambda name, flac: (audio / name).write_bytes(flac))
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
        _LOG.info("%d of %d: %s", number + 1, opened.num_mixtures("test"), recipe.id)
    for name, content in render_reports(results).items():
        (Path(output) / name).write_text(content, encoding="utf-8")
    return results


def _separate_with(separate: Callable[[tf.Tensor], tf.Tensor], num_channels: int) -> Separate:
    signature = [tf.TensorSpec([None, None, num_channels], tf.float32)]
    function = tf.function(separate, input_signature=signature)

    def separate_mono(mixture: Samples) -> Samples:
        waveform = np.repeat(mixture[np.newaxis, :, np.newaxis], num_channels, axis=2)
        estimates: Samples = function(waveform)[0].numpy().mean(axis=-1)
        return estimates

    return separate_mono


if __name__ == "__main__":
    sys.exit(main())

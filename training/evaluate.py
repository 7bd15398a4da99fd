"""Compares models: `python -m training.evaluate --model_dir DIR --dataset TEST --output REPORT`.

Every model separates every mixture of the split `test`, as do two bounds on the same data: the
mixture itself, and the ideal ratio mask. REPORT is a folder with `report.txt`, `report.json` and
`report.html`, where one can listen.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import tensorflow as tf

from schemas.errors import UserError
from schemas.pcm import Samples
from scoring.metrics import Block, ideal_ratio_mask, level_difference_db, measure
from scoring.mixtures import EvaluatedMixture, decode_mixture
from scoring.report import AUDIO, TEXT, render_reports
from scoring.results import IDEAL_RATIO_MASK, UNPROCESSED, Result, find_groups, name_audio
from training.input import open_dataset, read_examples
from training.model_dir import ModelDir

_LOG = logging.getLogger(__name__)

_NUM_PLAYERS = 12

Separate = Callable[[Samples], Samples]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 after an error."""
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
    except (UserError, OSError, tf.errors.OpError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(render_reports(results)[TEXT])
    return 0


def evaluate(model_dirs: list[str], dataset: str, output: str) -> list[Result]:
    """Measures models on the split `test`, and writes the report.

    Raises:
        ModelDirError: one of the folders holds no trained model.
        UnusableDatasetError: the dataset can't be used, or does not fit one of the models.
        CorruptRecordError: one of its files is damaged.
    """
    separators: dict[str, Separate] = {}
    for model_dir in model_dirs:
        name = PurePosixPath(model_dir.rstrip("/")).name
        if name in separators:
            raise UserError(f"two models are called {name}; the last folder's name is the model's")
        configuration, separator = ModelDir(model_dir).load_best()
        opened = open_dataset(dataset, configuration, ["test"])
        separators[name] = _separate_with(separator.separate, configuration.n_channels)
    players = Path(output) / AUDIO
    players.mkdir(parents=True, exist_ok=True)
    results = []
    for number, example in enumerate(read_examples(opened, "test")):
        test = decode_mixture(example, dataset)
        groups = find_groups(level_difference_db([test.sources]), test.recipe)
        rate = test.recipe.sample_rate
        for name, separate in _with_bounds(separators, test).items():
            block = Block(separate(test.mixture), test.sources, test.mixture)
            measures, order = measure(block.alone, rate)
            audio: tuple[str, ...] = ()
            if number < _NUM_PLAYERS:
                audio = name_audio(test.recipe.id, name, len(order))
                heard = [test.mixture, *block.estimates[list(order)]]
                for audio_name, samples in zip(audio, heard, strict=True):
                    soundfile.write(players / audio_name, np.clip(samples, -1, 1), rate)
            results.append(Result(name, test.recipe.id, groups, measures, audio))
        _LOG.info("%d of %d: %s", number + 1, opened.num_mixtures("test"), test.recipe.id)
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


def _with_bounds(separators: dict[str, Separate], test: EvaluatedMixture) -> dict[str, Separate]:
    num_sources, rate = len(test.sources), test.recipe.sample_rate
    return {
        UNPROCESSED: lambda mixture: np.tile(mixture, (num_sources, 1)),
        **separators,
        IDEAL_RATIO_MASK: lambda mixture: ideal_ratio_mask(test.sources, mixture, rate),
    }


if __name__ == "__main__":
    sys.exit(main())

"""Compares models: `python -m training.evaluate --model_dir DIR --dataset TEST --output REPORT`.

Every model separates every mixture of the split `test`, as do two bounds on the same data: the
mixture itself, and the ideal ratio mask. REPORT is a folder with `report.txt`, `report.json` and
`report.html`, where one can listen.
"""

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
import numpy as np
import soundfile
import tensorflow as tf

from schemas.recipe import Recipe, parse_recipe
from schemas.tfrecord import decode_example
from training.input import MixtureDataset, open_dataset, read_examples
from training.metrics import (
    Audio,
    ideal_ratio_mask,
    level_difference_db,
    measure,
    overlap_ratio,
)
from training.model_dir import ModelDir

_LOG = logging.getLogger(__name__)

UNPROCESSED = "unprocessed mixture"
IDEAL_RATIO_MASK = "ideal ratio mask"

_NUM_PLAYERS = 12
_OVERLAP_EDGES = (0.25, 0.5, 0.75)
_LEVEL_EDGES_DB = (2.5, 5.0)

Separate = Callable[[Audio], Audio]


@dataclasses.dataclass(frozen=True, slots=True)
class TestMixture:
    """A mixture of the dataset.

    Attributes:
        recipe: how it was made.
        mixture: float32 [samples].
        sources: float32 [sources, samples].
    """

    recipe: Recipe
    mixture: Audio
    sources: Audio

    @property
    def groups(self) -> dict[str, str]:
        """The group that it belongs to, by what groups are made of."""
        sources = self.recipe.sources
        genders = {source.gender for source in sources}
        gender = "same" if len(genders) == 1 else "different"
        ratio = overlap_ratio(
            [(source.offset_s, source.offset_s + source.duration_s) for source in sources]
        )
        level_db = level_difference_db(self.sources)
        return {
            "gender": "unknown" if "" in genders else gender,
            "overlap": _range_name(100 * ratio, [100 * edge for edge in _OVERLAP_EDGES], "%"),
            "level difference": _range_name(level_db, list(_LEVEL_EDGES_DB), "dB"),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one model made of one mixture.

    Attributes:
        model: its name.
        mixture: the recipe's id.
        groups: as `TestMixture.groups`.
        measures: by name, such as `si_sdri_db`.
    """

    model: str
    mixture: str
    groups: dict[str, str]
    measures: dict[str, float]


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
    except (ValueError, OSError, tf.errors.OpError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text_report(results))
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
            raise ValueError(f"two models are called {name}; the last folder's name is the model's")
        configuration, separator = ModelDir(model_dir).load_best()
        opened = open_dataset(dataset, configuration, ["test"])
        separators[name] = _separate_with(separator.separate, configuration.n_channels)
    players = Path(output) / "audio"
    players.mkdir(parents=True, exist_ok=True)
    results = []
    for number, test in enumerate(read_mixtures(opened, "test")):
        groups = test.groups
        rate = test.recipe.sample_rate
        for name, separate in _with_bounds(separators, test).items():
            estimates = separate(test.mixture)
            measures, order = measure(estimates, test.sources, test.mixture, rate)
            results.append(Result(name, test.recipe.id, groups, measures))
            if number < _NUM_PLAYERS:
                for slot, chosen in enumerate(order):
                    path = players / f"{test.recipe.id}-{_slug(name)}-{slot + 1}.flac"
                    soundfile.write(path, np.clip(estimates[chosen], -1, 1), rate)
        if number < _NUM_PLAYERS:
            soundfile.write(players / f"{test.recipe.id}-mixture.flac", test.mixture, rate)
        _LOG.info("%d of %d: %s", number + 1, opened.num_mixtures("test"), test.recipe.id)
    _write_reports(results, opened.info.num_sources, Path(output))
    return results


def read_mixtures(dataset: MixtureDataset, split: str) -> Iterator[TestMixture]:
    """Yields the mixtures of a split, mixed down to one channel.

    Raises:
        CorruptRecordError: a file is damaged; the message names it.
    """
    shape = (dataset.info.num_sources, -1, dataset.num_channels)

    def mono(samples: bytes, shape: tuple[int, ...]) -> Audio:
        audio: Audio = np.frombuffer(samples, np.int16).reshape(shape).mean(-1, np.float32)
        return audio / np.float32(32768)

    for example in read_examples(dataset, split):
        features: dict[str, Any] = decode_example(example)
        yield TestMixture(
            recipe=parse_recipe(features["recipe"][0], dataset.folder),
            mixture=mono(features["mixture"][0], shape[1:]),
            sources=mono(features["sources"][0], shape),
        )


def summarise(results: list[Result]) -> list[dict[str, Any]]:
    """One row per model: the mean and the median of each measure, and the mean SI-SDRi by group."""
    rows = []
    for model in dict.fromkeys(result.model for result in results):
        own = [result for result in results if result.model == model]
        row: dict[str, Any] = {"model": model, "mixtures": len(own)}
        for name in own[0].measures:
            values = [result.measures[name] for result in own]
            row[name] = {"mean": float(np.mean(values)), "median": float(np.median(values))}
        row["groups"] = {}
        for kind in own[0].groups:
            by_group: dict[str, list[float]] = {}
            for result in own:
                by_group.setdefault(result.groups[kind], []).append(result.measures["si_sdri_db"])
            row["groups"][kind] = {
                group: {"mixtures": len(values), "mean": float(np.mean(values))}
                for group, values in sorted(by_group.items())
            }
        rows.append(row)
    return rows


def text_report(results: list[Result]) -> str:
    """The comparison as plain text."""
    rows = summarise(results)
    names = list(results[0].measures)
    width = max(len(row["model"]) for row in rows)
    lines = [f"{rows[0]['mixtures']} mixtures; mean (median)", ""]
    lines.append(f"{'':{width}}" + "".join(f"{name:>18}" for name in names))
    for row in rows:
        cells = [f"{row[name]['mean']:.2f} ({row[name]['median']:.2f})" for name in names]
        lines.append(f"{row['model']:{width}}" + "".join(f"{cell:>18}" for cell in cells))
    for kind, groups in rows[0]["groups"].items():
        lines += ["", f"si_sdri_db by {kind}"]
        heads = [f"{group} ({cell['mixtures']})" for group, cell in groups.items()]
        lines.append(f"{'':{width}}" + "".join(f"{head:>18}" for head in heads))
        for row in rows:
            cells = [f"{cell['mean']:.2f}" for cell in row["groups"][kind].values()]
            lines.append(f"{row['model']:{width}}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines) + "\n"


def _separate_with(separate: Callable[[tf.Tensor], tf.Tensor], num_channels: int) -> Separate:
    signature = [tf.TensorSpec([None, None, num_channels], tf.float32)]
    function = tf.function(separate, input_signature=signature)

    def separate_mono(mixture: Audio) -> Audio:
        waveform = np.repeat(mixture[np.newaxis, :, np.newaxis], num_channels, axis=2)
        estimates: Audio = function(waveform)[0].numpy().mean(axis=-1)
        return estimates

    return separate_mono


def _with_bounds(separators: dict[str, Separate], test: TestMixture) -> dict[str, Separate]:
    num_sources, rate = len(test.sources), test.recipe.sample_rate
    return {
        UNPROCESSED: lambda mixture: np.tile(mixture, (num_sources, 1)),
        **separators,
        IDEAL_RATIO_MASK: lambda mixture: ideal_ratio_mask(test.sources, mixture, rate),
    }


def _write_reports(results: list[Result], num_sources: int, folder: Path) -> None:
    rows = summarise(results)
    document = {"models": rows, "results": [dataclasses.asdict(result) for result in results]}
    (folder / "report.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (folder / "report.txt").write_text(text_report(results), encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("evaluation.html").render(
        models=rows,
        measures=list(results[0].measures),
        histograms={row["model"]: _histogram(results, row["model"]) for row in rows},
        mixtures=list(dict.fromkeys(result.mixture for result in results))[:_NUM_PLAYERS],
        num_sources=num_sources,
        slug=_slug,
        results={(result.model, result.mixture): result for result in results},
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _histogram(results: list[Result], model: str) -> list[tuple[int, int]]:
    """How many mixtures each whole dB of SI-SDRi has; the first is the lower edge in dB."""
    edges = range(-10, 21)
    values = [result.measures["si_sdri_db"] for result in results if result.model == model]
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1] - 0.001), bins=list(edges))
    return list(zip(edges, counts.tolist(), strict=False))


def _range_name(value: float, edges: list[float], unit: str) -> str:
    for lower, upper in zip([0.0, *edges], edges, strict=False):
        if value < upper:
            return f"{lower:g}-{upper:g} {unit}"
    return f"from {edges[-1]:g} {unit}"


def _slug(name: str) -> str:
    return name.replace(" ", "_")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())

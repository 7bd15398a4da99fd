"""How often a joint model swaps the speakers of long mixtures, before and after alignment.

python -m bench.alignment --model BUNDLE --dataset DATASET

DATASET has long mixtures, such as those of the recipe `conversation`; its split `test` is used.
What counts are windows in which both outputs can be told by the sources, and so by whoever listens:
one order fits them better by more than 1 dB of SI-SDR, and no source is silent.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from beam_jobs.separation.models import describe_model
from beam_jobs.separation.separator import load_separator
from beam_jobs.separation.voices import Aligner, best_order
from beam_jobs.separation.windows import Framing, cut_windows
from schemas.dataset import DATASET, parse_dataset
from schemas.pcm import Samples
from schemas.tfrecord import read_records
from scoring.metrics import si_sdr_db
from scoring.mixtures import EvaluatedMixture, decode_mixture

MIN_MARGIN_DB = 1.0
MIN_LEVEL = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a bundle of a joint model")
    parser.add_argument("--dataset", required=True, type=Path, help="a folder of long mixtures")
    options = parser.parse_args()
    model = describe_model(options.model)
    separator = load_separator(model)
    orders_before, orders_after, margins = [], [], []
    for mixture in read_mixtures(options.dataset):
        windows = list(cut(mixture.mixture[np.newaxis], model.framing))
        outputs = [
            output
            for few in np.array_split(windows, -(-len(windows) // separator.batch_size))
            for output in separator.separate(few.transpose(0, 2, 1))
        ]
        aligner = Aligner(model.framing, model.sample_rate)
        aligned = [one for output in outputs for one in aligner.align(output)] + aligner.flush()
        sources = list(cut(mixture.sources, model.framing))
        orders_before.append([order_of(*both) for both in zip(outputs, sources, strict=True)])
        orders_after.append([order_of(*both) for both in zip(aligned, sources, strict=True)])
        margins += [
            margin
            for decision, margin in zip(aligner.decisions, aligner.margins, strict=True)
            if decision == "overlap"
        ]
    print(f"{sum(map(len, orders_before))} windows in {len(orders_before)} mixtures")
    for name, orders in (("before", orders_before), ("after", orders_after)):
        swaps, pairs, minority, told = count(orders)
        print(
            f"{name} alignment: {swaps} of {pairs} windows ({swaps / pairs:.1%}) have the speakers"
            f" otherwise than the window before, {minority} of {told} ({minority / told:.1%})"
            " otherwise than most windows of the mixture"
        )
    percentiles = np.percentile(margins, [5, 25, 50, 75])
    print(
        "margin of the overlap (0 to 2), percentiles 5, 25, 50, 75: "
        + ", ".join(f"{value:.2f}" for value in percentiles)
    )


def read_mixtures(folder: Path) -> Iterator[EvaluatedMixture]:
    dataset = parse_dataset((folder / DATASET).read_text(), str(folder / DATASET))
    for info in dataset.split_shards("test"):
        path = folder / info.shard.tfrecord(dataset.name)
        with path.open("rb") as file:
            for example in read_records(file):
                yield decode_mixture(example, str(path))


def cut(signals: Samples, framing: Framing) -> Iterator[Samples]:
    """float32 [signals, length] for each window."""
    for window in cut_windows([signals.T], signals.shape[1], framing):
        yield window.T


def order_of(outputs: Samples, sources: Samples) -> Sequence[int] | None:
    """Which output is whose, if that can be told."""
    if np.sqrt((sources**2).mean(axis=1)).min() < MIN_LEVEL:
        return None
    order, margin_db = best_order(si_sdr_db(outputs.mean(axis=2), sources).T)
    return order if margin_db > MIN_MARGIN_DB else None


def count(orders_of_mixtures: list[list[Sequence[int] | None]]) -> tuple[int, int, int, int]:
    """Swaps, pairs of windows that follow each other, windows unlike most, and windows."""
    swaps = pairs = minority = told = 0
    for orders in orders_of_mixtures:
        known = [tuple(order) for order in orders if order is not None]
        swaps += sum(before != after for before, after in itertools.pairwise(known))
        pairs += max(0, len(known) - 1)
        minority += len(known) - max((known.count(order) for order in set(known)), default=0)
        told += len(known)
    return swaps, pairs, minority, told


if __name__ == "__main__":
    main()

"""Counts how often a joint model swaps the speakers of long mixtures, before and after ordering.

python -m bench.alignment --model BUNDLE --dataset DATASET

DATASET should have long mixtures, such as those of the recipe `conversation`; its split `test` is
used. Only windows count in which a listener could tell the outputs apart: no source is silent, and
one permutation fits the sources better than the other by more than 1 dB of SI-SDR.
"""

import argparse
import contextlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from beam_jobs.dataset.reading import open_dataset, read_mixtures
from beam_jobs.separation.held_windows import HeldWindows
from beam_jobs.separation.models import describe_model
from beam_jobs.separation.separator import load_separator
from beam_jobs.separation.voices import order_windows
from beam_jobs.separation.window_orders import arrange
from beam_jobs.separation.windows import Framing, cut_windows
from schemas.mixture import StoredMixture, mix_down
from schemas.pcm import Samples
from scoring.metrics import si_sdr_db
from scoring.permutations import best_permutation

MIN_MARGIN_DB = 1.0
MIN_LEVEL = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a bundle of a joint model")
    parser.add_argument("--dataset", required=True, help="a folder of long mixtures")
    options = parser.parse_args()
    model = describe_model(options.model)
    separator = load_separator(model)
    embedder = separator.embedder
    if embedder is None:
        raise SystemExit(f"{options.model}: its outputs never swap")
    orders_before, orders_after, confidences = [], [], []
    for stored in read_test_split(options.dataset):
        mixture, references = mix_down(stored.mixture), mix_down(stored.sources)
        windows = list(cut(mixture[np.newaxis], model.framing))
        outputs = [
            output
            for few in np.array_split(windows, -(-len(windows) // separator.batch_size))
            for output in separator.separate(few.transpose(0, 2, 1))
        ]
        with contextlib.closing(HeldWindows(model.sample_rate)) as held:
            for output in outputs:
                held.add(output)
            found = order_windows(held, model.framing, embedder, model.sample_rate)
        aligned = [
            arrange(output, changes, model.sample_rate)
            for output, changes in zip(outputs, found.changes, strict=True)
        ]
        confidences.append(found.confidence)
        sources = list(cut(references, model.framing))
        orders_before.append([order_of(*both) for both in zip(outputs, sources, strict=True)])
        orders_after.append([order_of(*both) for both in zip(aligned, sources, strict=True)])
    print(f"{sum(map(len, orders_before))} windows in {len(orders_before)} mixtures")
    for name, orders in (("before", orders_before), ("after", orders_after)):
        swaps, pairs, minority, clear = count(orders)
        print(
            f"{name} ordering: {swaps} of {pairs} windows ({swaps / pairs:.1%}) have the speakers"
            f" in another order than the window before, {minority} of {clear}"
            f" ({minority / clear:.1%}) in another order than most windows of the mixture"
        )
    print(f"confidence: from {min(confidences):.2f} to {max(confidences):.2f}")


def read_test_split(folder: str) -> Iterator[StoredMixture]:
    dataset = open_dataset(folder)
    for info in dataset.split_shards("test"):
        yield from read_mixtures(folder, dataset, info)


def cut(signals: Samples, framing: Framing) -> Iterator[Samples]:
    """Yields float32 [signals, length] for each window of float32 [signals, samples]."""
    for window in cut_windows([signals.T], signals.shape[1], framing):
        yield window.T


def order_of(outputs: Samples, sources: Samples) -> Sequence[int] | None:
    """Returns the output that belongs to each source, or None if that is not clear."""
    if np.sqrt((sources**2).mean(axis=1)).min() < MIN_LEVEL:
        return None
    order, margin_db = best_permutation(si_sdr_db(outputs.mean(axis=2), sources))
    return order if margin_db > MIN_MARGIN_DB else None


def count(orders_of_mixtures: list[list[Sequence[int] | None]]) -> tuple[int, int, int, int]:
    """Counts swaps, pairs of consecutive windows, windows unlike most, and all windows."""
    swaps = pairs = minority = clear = 0
    for orders in orders_of_mixtures:
        known = [tuple(order) for order in orders if order is not None]
        swaps += sum(before != after for before, after in itertools.pairwise(known))
        pairs += max(0, len(known) - 1)
        minority += len(known) - max((known.count(order) for order in set(known)), default=0)
        clear += len(known)
    return swaps, pairs, minority, clear


if __name__ == "__main__":
    main()

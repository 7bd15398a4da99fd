"""How clean the speech of a dataset is, and what the limits of a recipe leave out of it."""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.quality.histogram import Quantity, RunningHistogram
from schemas.quality import Expectation, Histogram
from schemas.recipe_config import CleanEnough

QUANTITIES: Mapping[str, Quantity] = {
    "bandwidth_hz": Quantity("Bandwidth of the utterances of the corpora", "Hz", 100),
    "snr_db": Quantity("Signal-to-noise ratio of the utterances of the corpora", "dB", 1),
    "clipped_share": Quantity(
        "Clipped samples of the utterances of the corpora", "in a million", 10
    ),
    "speech_share": Quantity("Speech in the utterances of the corpora", "of the time", 0.01),
}
"""What is measured of utterances, by the catalogue's names."""

# From the catalogue's measures to the units of `QUANTITIES`.
_SCALES = {"clipped_share": 1e6}


def summarise_cleanness(catalogue: Catalogue) -> dict[str, Histogram]:
    """Returns the histograms of all measured utterances, be they clean enough or not.

    They are named `utterance_bandwidth_hz` and so on: a mixture has an SNR of its own.
    """
    histograms = {}
    for name, quantity in QUANTITIES.items():
        histogram = RunningHistogram()
        measures = _SCALES.get(name, 1) * _finite(catalogue.measures(name))
        if len(measures):
            bins = np.floor(measures / quantity.step + 1e-9).astype(np.int64)
            numbers, counts = np.unique(bins, return_counts=True)
            histogram = RunningHistogram(
                counts=Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True))),
                total=float(measures.sum()),
                low=float(measures.min()),
                high=float(measures.max()),
            )
        histograms[f"utterance_{name}"] = histogram.summarise(quantity)
    return histograms


def compare_with_limits(
    catalogue: Catalogue, clean_enough: CleanEnough | None
) -> Iterator[Expectation]:
    """Compares the utterances that are clean enough with the limits, and counts the others."""
    for name, limit in (clean_enough or CleanEnough()).limits.items():
        side, _, measure = name.partition("_")
        quantity = QUANTITIES[measure]
        scale = _SCALES.get(measure, 1)
        kept = scale * _finite(catalogue.measures(measure)[catalogue.is_clean_enough])
        span = f"{kept.min():.4g} to {kept.max():.4g} {quantity.unit}" if len(kept) else "none"
        num_beyond = int(catalogue.is_beyond(name, limit).sum())
        yield Expectation(
            quantity.title,
            asked=f"at {'least' if side == 'min' else 'most'} {scale * limit:g} {quantity.unit}",
            achieved=f"{span}; {num_beyond:,} left out",
        )


def _finite(measures: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    finite: npt.NDArray[np.float64] = measures[np.isfinite(measures)].astype(np.float64)
    return finite

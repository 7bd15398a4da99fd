"""Histograms that are added up without knowing the range of the values."""

import dataclasses
import itertools
import math
from collections import Counter

from schemas.quality import Histogram

_MAX_BINS = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Quantity:
    """Something that is measured of mixtures or of sources.

    Attributes:
        title: a name for people.
        unit: of the values; may be empty.
        step: the width of the bins in which values are counted, in that unit.
    """

    title: str
    unit: str
    step: float


@dataclasses.dataclass(slots=True)
class RunningHistogram:
    """Counts of the values of a quantity seen so far.

    Attributes:
        counts: by the number of the bin, which begins at that many steps.
        total: the sum of the values.
        low: the least value.
        high: the greatest value.
    """

    counts: Counter[int] = dataclasses.field(default_factory=Counter)
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float, step: float) -> None:
        """Counts a value in bins of the width `step`."""
        self.counts[math.floor(value / step + 1e-9)] += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)

    def merge(self, other: "RunningHistogram") -> None:
        """Adds the values of another histogram with bins of the same width."""
        self.counts.update(other.counts)
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)

    @property
    def mean(self) -> float:
        """The mean of the values; 0 without values."""
        return self.total / max(self.counts.total(), 1)

    def median(self, step: float) -> float:
        """Returns the middle of the bin of the median, or the nearest value; 0 without values."""
        if not self.counts:
            return 0.0
        half = self.counts.total() / 2
        reached = itertools.accumulate(self.counts[number] for number in sorted(self.counts))
        numbers = zip(sorted(self.counts), reached, strict=True)
        middle = next((number + 0.5) * step for number, sofar in numbers if sofar >= half)
        return min(max(middle, self.low), self.high)

    def summarise(self, quantity: Quantity) -> Histogram:
        """Returns the histogram in bins wide enough for a chart: at most 40 of them."""
        num = self.counts.total()
        if not num:
            return Histogram(quantity.title, quantity.unit, (), (), 0, None, None, None)
        first, last = min(self.counts), max(self.counts)
        width = next(
            width
            for width in (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
            if last // width - first // width < _MAX_BINS
        )
        bins: Counter[int] = Counter()
        for number, count in self.counts.items():
            bins[number // width] += count
        numbers = range(first // width, last // width + 1)
        return Histogram(
            title=quantity.title,
            unit=quantity.unit,
            edges=tuple(
                round(number * width * quantity.step, 6) for number in (*numbers, numbers.stop)
            ),
            counts=tuple(bins[number] for number in numbers),
            num=num,
            mean=round(self.total / num, 4),
            min=round(self.low, 4),
            max=round(self.high, 4),
        )

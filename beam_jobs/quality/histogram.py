"""TODO."""

import dataclasses
import itertools
import math
from collections import Counter
from typing import Any


@dataclasses.dataclass(slots=True)
class Histogram:
    """Counts of values, added up without ever knowing their range.

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
        """Counts a value."""
        self.counts[math.floor(value / step + 1e-9)] += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)

    @property
    def mean(self) -> float:
        """The mean of the values; 0 without values."""
        return self.total / max(self.counts.total(), 1)

    def median(self, step: float) -> float:
        """The middle of the bin in which half of the values are reached; 0 without values."""
        half = self.counts.total() / 2
        reached = itertools.accumulate(self.counts[number] for number in sorted(self.counts))
        numbers = zip(sorted(self.counts), reached, strict=True)
        return next(((number + 0.5) * step for number, sofar in numbers if sofar >= half), 0.0)

    def merge(self, other: "Histogram") -> None:
        """Adds the counts of another histogram."""
        self.counts.update(other.counts)
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)

    def to_document(self, title: str, unit: str, step: float, max_bins: int = 40) -> dict[str, Any]:
        """The histogram as `quality.json` has it, with no more bins than can be looked at."""
        num = sum(self.counts.values())
        if not num:
            return {
                "title": title,
                "unit": unit,
                "edges": [],
                "counts": [],
                "num": 0,
            } | dict.fromkeys(("mean", "min", "max"))
        first, last = min(self.counts), max(self.counts)
        width = next(
            width
            for width in (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
            if last // width - first // width < max_bins
        )
        bins: Counter[int] = Counter()
        for number, count in self.counts.items():
            bins[number // width] += count
        numbers = range(first // width, last // width + 1)
        return {
            "title": title,
            "unit": unit,
            "edges": [round(number * width * step, 6) for number in (*numbers, numbers.stop)],
            "counts": [bins[number] for number in numbers],
            "num": num,
            "mean": round(self.total / num, 4),
            "min": round(self.low, 4),
            "max": round(self.high, 4),
        }

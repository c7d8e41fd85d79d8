"""Distributions of figures such as PSNR: percentiles, a histogram, and which values lie far below the others.

Values are rounded to three significant digits, so that a shard's outcome can hold those of its rows as a short text.
The index, the card and `status` use the same rounded values and so show the same percentiles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

PERCENTILES = (5, 25, 50, 75, 95)
_FEWEST = 8  # values among which one can be far below the others
_BINS = 16  # of a histogram, at most one more


class Bin(TypedDict):
    """A bar of a histogram: how many objects have a value of at least `low` and below `high`."""

    low: float
    high: float
    objects: int


class Summary(TypedDict):
    """A distribution as index.json and `status --json` have it."""

    objects: int
    percentiles: dict[str, float]  # p5, p25, p50, p75, p95
    far_below: float | None  # values below this are far below the others; None where there are too few
    histogram: list[Bin]


def rounded(value: float) -> str:
    """A value to three significant digits."""
    return f"{value:.3g}"


def number(value: float) -> str:
    """A value for a person: three significant digits, also where they are 0, and no exponent."""
    shown = float(rounded(value))
    digits = 2 - math.floor(math.log10(abs(shown))) if shown else 2
    return f"{shown:.{max(0, digits)}f}"


def edge(value: float) -> str:
    """An edge of a bar for a person."""
    return np.format_float_positional(value, trim="-")


def as_text(values: Iterable[float]) -> str:
    """Values as a shard's outcome has them."""
    return " ".join(rounded(value) for value in sorted(values))


@dataclass(frozen=True)
class Distribution:
    """The values of one figure, at least one, with how many objects have each."""

    counts: Mapping[float, int]

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Distribution:
        """Add up what shards hold; raise ValueError for a text that `as_text` has not made."""
        values = Counter(float(word) for text in texts for word in text.split())
        if not all(math.isfinite(value) for value in values):
            raise ValueError("a figure is not finite")
        return cls(values)

    @classmethod
    def of_values(cls, values: np.ndarray) -> Distribution:
        counts: Counter[float] = Counter()
        for value, count in zip(*np.unique(values, return_counts=True), strict=True):
            counts[float(rounded(value))] += int(count)
        return cls(counts)

    @cached_property
    def objects(self) -> int:
        return sum(self.counts.values())

    def percentile(self, percent: float) -> float:
        """The smallest value that so many percent of the objects do not exceed."""
        values = sorted(self.counts)
        reached = np.cumsum([self.counts[value] for value in values])
        return values[int(np.searchsorted(reached, self.objects * percent / 100))]

    def far_below(self, ranges: float = 1.5) -> float | None:
        """The limit of what is far below: 1.5 interquartile ranges under the first quartile, as in a box plot."""
        if self.objects < _FEWEST:
            return None
        low, high = self.percentile(25), self.percentile(75)
        return float(rounded(low - ranges * (high - low)))

    def count_below(self, limit: float) -> int:
        return sum(count for value, count in self.counts.items() if value < limit)

    def histogram(self) -> list[Bin]:
        """Bins whose width is 1, 2 or 5 times a power of ten."""
        low, high = min(self.counts), max(self.counts)
        width = _round_width((high - low or abs(high) or 1.0) / _BINS)
        objects = Counter[int]()
        for value, count in self.counts.items():
            objects[math.floor(value / width + 1e-9)] += count
        steps = range(min(objects), max(objects) + 1)
        return [Bin(low=_at(step, width), high=_at(step + 1, width), objects=objects[step]) for step in steps]

    def summary(self) -> Summary:
        return {
            "objects": self.objects,
            "percentiles": {f"p{percent}": self.percentile(percent) for percent in PERCENTILES},
            "far_below": self.far_below(),
            "histogram": self.histogram(),
        }


def _at(step: int, width: float) -> float:
    return float(f"{step * width:.6g}")


def _round_width(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9))

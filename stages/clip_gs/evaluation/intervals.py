"""Compute shares with 95% intervals, by a bootstrap over objects or classes."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

REPEATS = 1000
_DRAWN_AT_ONCE = 2**22


class Figure(TypedDict):
    value: float
    low: float | None  # None if there is no interval
    high: float | None


def figures(sums: np.ndarray, counts: np.ndarray, seed: int = 0, repeats: int = REPEATS) -> list[Figure | None]:
    """Return m figures: the sum of `sums` [n, m] over n units, divided by the sum of `counts` [n, m].

    A figure is None if nothing was counted, and has no interval if only one unit counts. All m figures use the same
    draws.
    """
    counted = (counts > 0).sum(0)  # units of each figure
    low, high = _bounds(sums, counts, seed, repeats) if len(sums) else (counted, counted)
    found: list[Figure | None] = []
    for column, units in enumerate(counted.tolist()):
        if not units:
            found.append(None)
            continue
        figure = exact(sums[:, column].sum() / counts[:, column].sum())
        if units > 1:
            figure |= {"low": float(low[column]), "high": float(high[column])}
        found.append(figure)
    return found


def exact(value: float) -> Figure:
    """Return a figure without an interval."""
    return {"value": float(value), "low": None, "high": None}


def _bounds(sums: np.ndarray, counts: np.ndarray, seed: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """[m] each: the 2.5th and the 97.5th percentile of the figures of many draws."""
    units = len(sums)
    random = np.random.default_rng(seed)
    sums, counts = sums.astype(np.float64), counts.astype(np.float64)
    found = []
    done = 0
    while done < repeats:
        size = min(repeats - done, max(1, _DRAWN_AT_ONCE // units))
        drawn = random.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)
        with np.errstate(invalid="ignore"):  # a draw may have no unit that counts for a figure
            found.append((times @ sums) / (times @ counts))
        done += size
    drawn_figures = np.concatenate(found)  # [repeats, m]
    drawn_figures[:, np.isnan(drawn_figures).all(0)] = 0  # nothing was counted: not used
    low, high = np.nanpercentile(drawn_figures, [2.5, 97.5], axis=0)
    return low, high

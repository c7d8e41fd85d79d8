"""Shares with 95% intervals by a bootstrap: objects, or classes, are drawn anew with replacement, many times."""

from __future__ import annotations

import numpy as np

REPEATS = 1000
_DRAWN_AT_ONCE = 2**22

Figure = dict[str, float | None]  # value, low, high; the last two are None where there is no interval


def figures(sums: np.ndarray, counts: np.ndarray, seed: int = 0, repeats: int = REPEATS) -> list[Figure | None]:
    """`sums` and `counts`, [n, m], are what n units add to m figures, each the sum of its sums by that of its counts.

    None where nothing was counted; without an interval where it was for one unit alone, which shows no spread. All m
    figures see the same draws.
    """
    counted = (counts > 0).sum(0)  # units of each figure
    low, high = _bounds(sums, counts, seed, repeats) if len(sums) else (counted, counted)
    found: list[Figure | None] = []
    for column, units in enumerate(counted.tolist()):
        figure = exact(sums[:, column].sum() / counts[:, column].sum()) if units else None
        found.append(figure if units < 2 else {**figure, "low": float(low[column]), "high": float(high[column])})
    return found


def exact(value: float) -> Figure:
    """What is known and not measured."""
    return {"value": float(value), "low": None, "high": None}


def _bounds(sums: np.ndarray, counts: np.ndarray, seed: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """[m] each: of the figures of many draws, the 2.5th and the 97.5th percentile."""
    units = len(sums)
    random = np.random.default_rng(seed)
    sums, counts = sums.astype(np.float64), counts.astype(np.float64)
    found = []
    done = 0
    while done < repeats:
        size = min(repeats - done, max(1, _DRAWN_AT_ONCE // units))
        drawn = random.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)
        with np.errstate(invalid="ignore"):  # a draw may hold none of the units that count for a figure
            found.append((times @ sums) / (times @ counts))
        done += size
    drawn_figures = np.concatenate(found)  # [repeats, m]
    drawn_figures[:, np.isnan(drawn_figures).all(0)] = 0  # nothing was counted: not told
    low, high = np.nanpercentile(drawn_figures, [2.5, 97.5], axis=0)
    return low, high

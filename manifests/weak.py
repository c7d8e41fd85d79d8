"""Weak captions: those with the lowest scores of their kind in the dataset. They are marked, not left out.

Which scores are low depends on the teacher, so the limit is a percentile. Each shard has a histogram of its scores for
each kind; the index adds them up and stores the score below which captions of a kind are weak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from manifests.distribution import Distribution

_DISAGREEING = 3.0  # interquartile ranges below the first quartile of the kind
_STEPS = 2000  # of the histogram, from 0 to 1

Counts = dict[str, dict[str, int]]  # by kind, then by step of the histogram (a string, as JSON keys are)


def count(counts: Counts, captions: Iterable[Mapping[str, Any]]) -> None:
    """Add the scores of a row's captions; captions without a finite score are skipped."""
    for caption in captions:
        if caption["score"] is not None and math.isfinite(caption["score"]):
            steps = counts.setdefault(caption["kind"], {})
            step = str(math.floor(caption["score"] * _STEPS))
            steps[step] = steps.get(step, 0) + 1


def bounds(shards: Iterable[Counts], percent: float) -> dict[str, float]:
    """By kind, the score below which a caption is weak, so that at most `percent` of the captions are."""
    return {kind: _bound(steps, percent) for kind, steps in sorted(_total(shards).items())}


def _total(shards: Iterable[Counts]) -> dict[str, dict[int, int]]:
    total: dict[str, dict[int, int]] = {}
    for counts in shards:
        for kind, steps in counts.items():
            added = total.setdefault(kind, {})
            for step, number in steps.items():
                added[int(step)] = added.get(int(step), 0) + number
    return total


def far_below(shards: Iterable[Counts]) -> dict[str, tuple[float, int]]:
    """By kind, the score below which a caption disagrees with the views, and how many do, where some do.

    Their scores are far below those of their kind, as a distribution says.
    """
    found = {}
    for kind, steps in _total(shards).items():
        scores = Distribution({step / _STEPS: number for step, number in steps.items()})
        if (limit := scores.far_below(_DISAGREEING)) is not None and (number := scores.count_below(limit)):
            found[kind] = limit, number
    return found


def _bound(steps: Mapping[int, int], percent: float) -> float:
    allowed = sum(steps.values()) * percent / 100
    for step in sorted(steps):
        allowed -= steps[step]
        if allowed < 0:
            return step / _STEPS
    return (max(steps) + 1) / _STEPS


def is_weak(caption: Mapping[str, Any], below: Mapping[str, float]) -> bool:
    return caption["score"] is not None and caption["score"] < below.get(caption["kind"], -math.inf)

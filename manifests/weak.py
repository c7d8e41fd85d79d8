"""Weak captions: those with the lowest scores of their kind in the dataset. They are marked, not left out.

Which scores are low depends on the teacher, so the limit is a percentile. Each shard has a histogram of its scores for
each kind; the index adds them up and stores the score below which captions of a kind are weak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

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
    total: dict[str, dict[int, int]] = {}
    for counts in shards:
        for kind, steps in counts.items():
            added = total.setdefault(kind, {})
            for step, number in steps.items():
                added[int(step)] = added.get(int(step), 0) + number
    return {kind: _bound(steps, percent) for kind, steps in sorted(total.items())}


def _bound(steps: Mapping[int, int], percent: float) -> float:
    allowed = sum(steps.values()) * percent / 100
    for step in sorted(steps):
        allowed -= steps[step]
        if allowed < 0:
            return step / _STEPS
    return (max(steps) + 1) / _STEPS


def is_weak(caption: Mapping[str, Any], below: Mapping[str, float]) -> bool:
    return caption["score"] is not None and caption["score"] < below.get(caption["kind"], -math.inf)

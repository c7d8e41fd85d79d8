"""Linear probes: k classes, n objects of each to learn from, others of the same classes to be named.

The learner is scikit-learn's logistic regression as it comes, on vectors of length 1. Which classes and objects are
drawn follows from the seed alone, so that all rows of a table are asked the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

WAYS = (5, 10, 20, 50)
SHOTS = (1, 5, 10)
SEEDS = 10
ASKED = 20  # objects of a class that are named, at most


@dataclass(frozen=True)
class Episode:
    """Places among the objects, no object in both."""

    learnt: np.ndarray  # [k * n]
    asked: np.ndarray  # [q]


def draw(truth: np.ndarray, ways: int, shots: int, seed: int) -> Episode | str:
    """Some of the objects; why not, where there are too few. `truth` [B] is each one's class, -1 where it has none."""
    classes, counts = np.unique(truth[truth >= 0], return_counts=True)
    enough = classes[counts > shots]  # one at least is left to be asked
    if len(enough) < ways:
        return f"{len(enough)} of {len(classes)} classes have more than {shots}{' objects' if shots > 1 else ' object'}"
    random = np.random.default_rng([seed, ways, shots])
    learnt, asked = [], []
    for name in random.choice(enough, ways, replace=False):
        own = random.permutation(np.flatnonzero(truth == name))
        learnt.append(own[:shots])
        asked.append(own[shots : shots + ASKED])
    return Episode(np.concatenate(learnt), np.concatenate(asked))


def probe(vectors: np.ndarray, truth: np.ndarray, episode: Episode) -> float:
    """The share of those asked that are named right; the mean over classes."""
    from sklearn.linear_model import LogisticRegression  # a second that other processes need not spend

    learner = LogisticRegression(max_iter=1000).fit(vectors[episode.learnt], truth[episode.learnt])
    asked = truth[episode.asked]
    right = learner.predict(vectors[episode.asked]) == asked
    return float(np.mean([right[asked == name].mean() for name in np.unique(asked)]))


def probes(vectors: np.ndarray, truth: np.ndarray, seeds: int = SEEDS) -> dict[str, dict[str, Any]]:
    """Every k and n: mean and deviation over the seeds, or why it was skipped."""
    found: dict[str, dict[str, Any]] = {}
    for ways in WAYS:
        for shots in SHOTS:
            episodes = [draw(truth, ways, shots, seed) for seed in range(seeds)]
            told = {"ways": ways, "shots": shots}
            if isinstance(episodes[0], str):
                found[f"{ways}_way_{shots}_shot"] = told | {"skipped": episodes[0]}
                continue
            shares = [probe(vectors, truth, episode) for episode in episodes]
            found[f"{ways}_way_{shots}_shot"] = told | {
                "seeds": seeds,
                "asked": int(np.mean([len(episode.asked) for episode in episodes])),
                "mean": float(np.mean(shares)),
                "deviation": float(np.std(shares, ddof=1)),
            }
    return found


def by_chance(cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What guessing would reach in the same cells."""
    return {
        name: cell if "skipped" in cell else cell | {"mean": 1 / cell["ways"], "deviation": None}
        for name, cell in cells.items()
    }

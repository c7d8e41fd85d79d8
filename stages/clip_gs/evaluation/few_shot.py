"""Measure linear probes: learn k classes from n objects of each, and classify other objects of these classes.

The classifier is scikit-learn's logistic regression with its defaults, on vectors of length 1. Classes and objects
depend on the seed only, so they are the same for all columns of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

WAYS = (5, 10, 20, 50)
SHOTS = (1, 5, 10)
SEEDS = 10
QUERIES = 20  # objects of a class that are classified, at most


@dataclass(frozen=True)
class Episode:
    """Indices of objects; no object is in both."""

    support: np.ndarray  # [k * n], to learn from
    query: np.ndarray  # [q], to classify


def why_skipped(truth: np.ndarray, ways: int, shots: int) -> str:
    """Return why there are too few objects for an episode; "" if there are enough."""
    enough, classes = _classes(truth, shots)
    if len(enough) >= ways:
        return ""
    return f"{len(enough)} of {len(classes)} classes have more than {shots}{' objects' if shots > 1 else ' object'}"


def draw(truth: np.ndarray, ways: int, shots: int, seed: int) -> Episode:
    """Draw classes, and objects of each. `truth` [B] is each object's class, -1 if it has none."""
    enough, _ = _classes(truth, shots)
    random = np.random.default_rng([seed, ways, shots])
    support, query = [], []
    for name in random.choice(enough, ways, replace=False):
        own = random.permutation(np.flatnonzero(truth == name))
        support.append(own[:shots])
        query.append(own[shots : shots + QUERIES])
    return Episode(np.concatenate(support), np.concatenate(query))


def _classes(truth: np.ndarray, shots: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes that have an object to classify beside those to learn from, and all classes."""
    classes, counts = np.unique(truth[truth >= 0], return_counts=True)
    return classes[counts > shots], classes


def probe(vectors: np.ndarray, truth: np.ndarray, episode: Episode) -> float:
    """Return the share of queries that is classified correctly, as a mean over classes."""
    from sklearn.linear_model import LogisticRegression  # slow to import, and only the first process needs it

    learner = LogisticRegression(max_iter=1000).fit(vectors[episode.support], truth[episode.support])
    expected = truth[episode.query]
    right = learner.predict(vectors[episode.query]) == expected
    return float(np.mean([right[expected == name].mean() for name in np.unique(expected)]))


def probes(vectors: np.ndarray, truth: np.ndarray, seeds: int = SEEDS) -> dict[str, dict[str, Any]]:
    """Return for every k and n the mean and deviation over the seeds, or why it was skipped."""
    found: dict[str, dict[str, Any]] = {}
    for ways in WAYS:
        for shots in SHOTS:
            name, numbers = f"{ways}_way_{shots}_shot", {"ways": ways, "shots": shots}
            if reason := why_skipped(truth, ways, shots):
                found[name] = numbers | {"skipped": reason}
                continue
            episodes = [draw(truth, ways, shots, seed) for seed in range(seeds)]
            shares = [probe(vectors, truth, episode) for episode in episodes]
            found[name] = numbers | {
                "seeds": seeds,
                "asked": int(np.mean([len(episode.query) for episode in episodes])),
                "mean": float(np.mean(shares)),
                "deviation": float(np.std(shares, ddof=1)),
            }
    return found


def by_chance(cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the figures of guessing."""
    return {
        name: cell if "skipped" in cell else cell | {"mean": 1 / cell["ways"], "deviation": None}
        for name, cell in cells.items()
    }

"""Which views a model is shown: they show much of the object, from all around, and look like the object.

A view's worth is the product of

- how much of the object it shows: the pixels it covers, as a share of what the best view covers;
- how usual its direction is: things are seldom looked at from straight above, and seldomer from below;
- where the teacher has run, how typical its vector is: its rank by likeness to the mean of all. Captioners invent
  things where they are shown atypical views.

The first choice is the view of the greatest worth, each next one that of the greatest worth times distance to the
nearest direction chosen. Views that show nothing are never chosen.
"""

from __future__ import annotations

import numpy as np

_ABOVE, _BELOW = 0.4, 0.6  # of its worth, what a view loses from straight above, from straight below
_ATYPICAL = 0.7  # and the least typical one


def choose(
    covered: np.ndarray, camera_to_world: np.ndarray, count: int, vectors: np.ndarray | None = None
) -> list[int]:
    """Indices of at most `count` views, best first.

    covered: [V] pixels that show the object; camera_to_world: [V, 4, 4]; vectors: [V, D] of length 1
    """
    places = camera_to_world[:, :3, 3].astype(np.float64)
    directions = places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-9)  # [V, 3]
    worth = covered / max(covered.max(initial=0), 1) * _usual(directions[:, 1])
    if vectors is not None:
        worth = worth * (1 - _ATYPICAL * (1 - typical(vectors)))
    distance = np.ones(len(worth))  # to the nearest chosen direction: 0 there, 1 on the far side
    chosen: list[int] = []
    while len(chosen) < min(count, np.count_nonzero(covered)):
        gain = np.where(covered > 0, worth * distance, -1.0)
        gain[chosen] = -2.0
        # Rounded, so that equal views are told apart by their numbers and not by the last bit.
        chosen.append(int(np.argmax(gain.round(9))))
        distance = np.minimum(distance, np.arccos(np.clip(directions @ directions[chosen[-1]], -1, 1)) / np.pi)
    return chosen


def _usual(height: np.ndarray) -> np.ndarray:
    """[V] 1 at the height of the object, less above and below; height: the direction's part along y, -1 to 1."""
    return 1 - np.where(height > 0, _ABOVE * height**2, _BELOW * height**2)


def typical(vectors: np.ndarray) -> np.ndarray:
    """[V] 1 for the view that is most like all of them together, 0 for the one least so, by rank."""
    if len(vectors) < 2:
        return np.ones(len(vectors))
    likeness = (vectors.astype(np.float64) @ vectors.astype(np.float64).mean(axis=0)).round(6)
    order = np.lexsort((np.arange(len(vectors)), -likeness))  # most typical first, then by number
    ranks = np.empty(len(vectors))
    ranks[order] = np.arange(len(vectors))
    return 1 - ranks / (len(vectors) - 1)

"""Choose the views that a model is shown: they show much of the object, from different directions, and are typical.

The worth of a view is the product of

- how much of the object it shows: the pixels it covers, as a share of what the best view covers;
- how usual its direction is: things are seldom seen from above, and even less often from below;
- where the teacher has run, how typical its vector is: its rank by similarity to the mean of all. Captioners invent
  things when they are shown atypical views.

The first view chosen has the greatest worth, each further one the greatest product of worth and distance to the nearest
direction chosen. Views that show nothing are never chosen.
"""

from __future__ import annotations

import numpy as np

_ABOVE, _BELOW = 0.4, 0.6  # the share of its worth that a view from straight above, or straight below, loses
_ATYPICAL = 0.7  # the share that the least typical view loses


def choose(
    covered: np.ndarray, camera_to_world: np.ndarray, count: int, vectors: np.ndarray | None = None
) -> list[int]:
    """Indices of at most `count` views, best first.

    covered: [V] pixels that show the object; camera_to_world: [V, 4, 4]; vectors: [V, D] of length 1
    """
    centres = camera_to_world[:, :3, 3].astype(np.float64)
    directions = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)  # [V, 3]
    worth = covered / max(covered.max(initial=0), 1) * _usual(directions[:, 1])
    if vectors is not None:
        worth = worth * (1 - _ATYPICAL * (1 - typical(vectors)))
    distance = np.ones(len(worth))  # angle to the nearest chosen direction, from 0 to 1 for opposite directions
    chosen: list[int] = []
    while len(chosen) < min(count, int(np.count_nonzero(covered))):
        gain = np.where(covered > 0, worth * distance, -1.0)
        gain[chosen] = -2.0
        # Rounded, so that of equal views the first is chosen, and not the one that differs in the last bit.
        chosen.append(int(np.argmax(gain.round(9))))
        distance = np.minimum(distance, np.arccos(np.clip(directions @ directions[chosen[-1]], -1, 1)) / np.pi)
    return chosen


def _usual(height: np.ndarray) -> np.ndarray:
    """[V] 1 for views from the side, less for those from above and below; height: the direction's y, -1 to 1."""
    return 1 - np.where(height > 0, _ABOVE * height**2, _BELOW * height**2)


def typical(vectors: np.ndarray) -> np.ndarray:
    """[V] each view's rank by similarity to the mean of all: 1 for the most similar, 0 for the least."""
    if len(vectors) < 2:
        return np.ones(len(vectors))
    similarity = (vectors.astype(np.float64) @ vectors.astype(np.float64).mean(axis=0)).round(6)
    order = np.lexsort((np.arange(len(vectors)), -similarity))  # most typical first, then by number
    ranks = np.empty(len(vectors))
    ranks[order] = np.arange(len(vectors))
    return 1 - ranks / (len(vectors) - 1)

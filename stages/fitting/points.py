"""Choose well-spread subsets of points and measure distances to neighbours."""

from __future__ import annotations

import math

import fpsample
import numpy as np

from stages.common.compiled import compiled

_TREE_HEIGHT = 5  # of the sampler's buckets; the order does not depend on it


def farthest_first(points: np.ndarray, count: int) -> np.ndarray:
    """Indices [count] of points [N, D], D at most 8: the first point, then always the farthest from all before.

    Of points at the same position one is taken, and the others come last.
    """
    if len(points) <= 2:
        return np.arange(count)
    height = min(_TREE_HEIGHT, int(np.log2(len(points))))
    found = fpsample.bucket_fps_kdline_sampling(np.ascontiguousarray(points, np.float32), count, height, 0)
    distinct = found[np.sort(np.unique(found, return_index=True)[1])].astype(np.int64)
    left = np.setdiff1d(np.arange(len(points)), distinct)
    return np.concatenate([distinct, left[: count - len(distinct)]])


@compiled
def neighbour_distances(points: np.ndarray) -> np.ndarray:
    """[N] float32: root mean square distance of points [N, 3] to their three nearest others; inf for too few."""
    amount = points.shape[0]
    distances = np.empty(amount, np.float32)
    for i in range(amount):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        first = second = third = np.float32(np.inf)
        for j in range(amount):
            d = (points[j, 0] - x) ** 2 + (points[j, 1] - y) ** 2 + (points[j, 2] - z) ** 2
            if d < third and j != i:
                if d < second:
                    third = second
                    if d < first:
                        first, second = d, first
                    else:
                        second = d
                else:
                    third = d
        distances[i] = math.sqrt((first + second + third) / np.float32(3))
    return distances

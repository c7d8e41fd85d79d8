"""Well-spread subsets and neighbours of points, for the start and for the order in which Gaussians are written."""

from __future__ import annotations

import math

import numpy as np

from stages.fitting.compiled import compiled


@compiled
def farthest_first(points, count, start):
    """Indices [count] of points [N, D] float32: each next one is the farthest from all before. Ties: lowest index."""
    amount, dimensions = points.shape
    across = np.ascontiguousarray(points.T)
    nearest = np.full(amount, np.float32(np.inf), np.float32)
    chosen = np.empty(count, np.int64)
    current = start
    for k in range(count):
        chosen[k] = current
        distance = np.zeros(amount, np.float32)
        for d in range(dimensions):
            axis, here = across[d], across[d, current]
            for i in range(amount):
                distance[i] += (axis[i] - here) * (axis[i] - here)
        best = np.float32(-1)
        for i in range(amount):
            nearest[i] = min(nearest[i], distance[i])
        nearest[current] = np.float32(-2)  # a point is taken once, also where others lie upon it
        for i in range(amount):
            if nearest[i] > best:
                best, current = nearest[i], i
    return chosen


@compiled
def neighbour_distances(points):
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

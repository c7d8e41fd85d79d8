"""Split polygons into triangles: into fans where they are convex, else by clipping ears.

A polygon of n corners always becomes n - 2 triangles, in the order of the polygons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MOST_TESTS = 100_000  # of corners in one call, which take some seconds; the polygons left then stay fans


@dataclass
class Budget:
    """The tests of corners that are left for all parts of a mesh."""

    tests: int = 20 * _MOST_TESTS


def fans(counts: np.ndarray) -> np.ndarray:
    """[F, 3] indices of corners: P polygons of counts[P] corners, each as triangles around its first corner."""
    starts = np.cumsum(counts) - counts
    triangles = np.maximum(counts - 2, 0)
    polygon = np.repeat(np.arange(len(counts)), triangles)
    step = np.arange(len(polygon)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([starts[polygon], starts[polygon] + step + 1, starts[polygon] + step + 2], 1)


def triangles(points: np.ndarray, counts: np.ndarray, whole: Budget | None = None) -> np.ndarray:
    """[F, 3] indices of corners. points: [sum of counts, 3], the positions of the corners; whole: of all calls."""
    found = fans(counts)
    if counts.max(initial=0) <= 3:
        return found
    starts = np.cumsum(counts) - counts
    firsts = np.cumsum(np.maximum(counts - 2, 0)) - np.maximum(counts - 2, 0)
    whole = whole or Budget()
    budget = Budget(min(_MOST_TESTS, whole.tests))
    whole.tests -= budget.tests
    for polygon, normal in _concave(points, counts, found):
        start, count = starts[polygon], counts[polygon]
        clipped = _clipped(_projected(points[start : start + count], normal), budget)
        found[firsts[polygon] : firsts[polygon] + count - 2] = np.array(clipped) + start
    whole.tests += max(budget.tests, 0)
    return found


def _concave(points: np.ndarray, counts: np.ndarray, found: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The polygons whose fan has a triangle that faces backwards, and their normals."""
    polygon = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
    many = counts[polygon] > 3
    polygon, corners = polygon[many], points[found[many]]
    with np.errstate(all="ignore"):
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.stack([np.bincount(polygon, axis, len(counts)) for axis in faces.T], 1)
        along = (faces * normals[polygon]).sum(1)
        backwards = along < -1e-6 * (normals[polygon] ** 2).sum(1)
    return [(index, normals[index]) for index in np.unique(polygon[backwards])]


def _projected(points: np.ndarray, normal: np.ndarray) -> list[tuple[float, float]]:
    """The points projected along the axis closest to the normal, counter-clockwise."""
    axis = int(np.abs(normal).argmax())
    first, second = (axis + 1) % 3, (axis + 2) % 3
    if normal[axis] < 0:
        first, second = second, first
    return [(float(x), float(y)) for x, y in points[:, [first, second]]]


def _clipped(points: list[tuple[float, float]], budget: Budget) -> list[tuple[int, int, int]]:
    """The triangles of a simple polygon. If it crosses itself, or the budget is spent, the rest becomes a fan."""
    ring = list(range(len(points)))
    found = []
    at = missed = 0
    while len(ring) > 3 and missed < len(ring) and budget.tests > 0:
        ear = (ring[at - 1], ring[at], ring[(at + 1) % len(ring)])
        budget.tests -= 1 + len(ring) // 64
        if _is_ear(points, ring, ear):
            found.append(ear)
            del ring[at]
            at, missed = max(at - 1, 0), 0
        else:
            at, missed = (at + 1) % len(ring), missed + 1
    return found + [(ring[0], second, third) for second, third in zip(ring[1:], ring[2:], strict=False)]


def _is_ear(points: list[tuple[float, float]], ring: list[int], ear: tuple[int, int, int]) -> bool:
    """Whether the triangle is inside the polygon: it turns left, and no other corner is in it."""
    a, b, c = (points[corner] for corner in ear)
    turn = _turn(a, b, c)
    if turn <= 0:
        return turn == 0  # a triangle without area can go
    for corner in ring:
        p = points[corner]
        if p in (a, b, c):
            continue
        if _turn(a, b, p) >= 0 and _turn(b, c, p) >= 0 and _turn(c, a, p) >= 0:
            return False
    return True


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

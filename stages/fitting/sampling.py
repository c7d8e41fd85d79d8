"""Choose well-spread subsets of points, and order points so that any prefix is well spread.

Points are kept in buckets, each with its box and the point that is farthest from all chosen ones. A newly chosen point
changes only the buckets whose box is near enough. The work does not hold the interpreter's lock, as the package
fpsample does, so that threads can order several objects at once.
"""

from __future__ import annotations

import numpy as np

from stages.common.compiled import compiled

_BUCKET = 128  # the most points in a bucket; any number gives the same spread


def farthest_first(points: np.ndarray, count: int) -> np.ndarray:
    """Indices [count] of points [N, D]: the first point, then always the farthest from all before.

    Of points at the same position one is taken, and the others come last.
    """
    if not count:
        return np.zeros(0, np.int64)
    given = np.ascontiguousarray(points, np.float32)
    order, begins = _buckets_of(given)
    chosen = order[_sample(np.ascontiguousarray(given[order].T), begins, int(order.argmin()), count)]
    left = np.ones(len(points), bool)
    left[chosen] = False
    return np.concatenate([chosen, np.flatnonzero(left)[: count - len(chosen)]])


@compiled
def _buckets_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, D] sorted into buckets, and where each bucket begins among them; the last number is N.

    A bucket that is too full is divided in the middle of its longest side.
    """
    amount = len(points)
    order, begins, ends = np.arange(amount), np.zeros(amount + 1, np.int64), np.empty(amount + 1, np.int64)
    count, waiting = 0, 1
    ends[0] = amount
    while waiting:  # `ends` is a stack: the next bucket begins where the last one ended
        begin, end = begins[count], ends[waiting - 1]
        axis, middle, length = 0, np.float32(0), np.float32(0)
        if end - begin > _BUCKET:
            for k in range(points.shape[1]):
                low = high = points[order[begin], k]
                for i in range(begin, end):
                    low, high = min(low, points[order[i], k]), max(high, points[order[i], k])
                if high - low > length:
                    axis, middle, length = k, low + (high - low) / 2, high - low
        divide = begin
        if length > 0:
            for i in range(begin, end):
                if points[order[i], axis] <= middle:
                    order[i], order[divide] = order[divide], order[i]
                    divide += 1
        if begin < divide < end:
            ends[waiting] = divide
            waiting += 1
        else:
            count += 1
            begins[count] = end
            waiting -= 1
    return order, begins[: count + 1]


@compiled
def _sample(points: np.ndarray, begins: np.ndarray, first: int, count: int) -> np.ndarray:
    """Up to `count` of points [D, N] in buckets: `first`, then the farthest, until none is apart from those chosen."""
    dimensions, buckets = len(points), len(begins) - 1
    low, high = np.empty((dimensions, buckets), np.float32), np.empty((dimensions, buckets), np.float32)
    for k in range(dimensions):
        for b in range(buckets):
            part = points[k, begins[b] : begins[b + 1]]
            low[k, b], high[k, b] = part.min(), part.max()
    squares, scratch = np.full(points.shape[1], np.inf, np.float32), np.empty(points.shape[1], np.float32)
    bounds, farthest = np.empty(buckets, np.float32), np.full(buckets, np.inf, np.float32)
    candidates, chosen = np.zeros(buckets, np.int64), np.empty(count, np.int64)
    chosen[0] = first
    for turn in range(count):
        at = chosen[turn]
        bounds[:] = 0
        for k in range(dimensions):
            here = points[k, at]
            for b in range(buckets):
                gap = max(max(low[k, b] - here, here - high[k, b]), np.float32(0))
                bounds[b] += gap * gap
        following, most = -1, np.float32(0)
        for b in range(buckets):
            if bounds[b] < farthest[b]:
                begin, end = begins[b], begins[b + 1]
                candidates[b], farthest[b] = _approach(points[:, begin:end], squares[begin:end], points[:, at], scratch)
                candidates[b] += begin
            if farthest[b] > most:
                following, most = candidates[b], farthest[b]
        if following < 0 or turn + 1 == count:
            return chosen[: turn + 1]
        chosen[turn + 1] = following
    return chosen


@compiled
def _approach(points: np.ndarray, squares: np.ndarray, at: np.ndarray, scratch: np.ndarray) -> tuple[int, np.float32]:
    """Lower a bucket's squared distances to those from `at`; return the index and value of the largest."""
    count = len(squares)
    scratch[:count] = 0
    for k in range(len(points)):
        here = at[k]
        for i in range(count):
            apart = points[k, i] - here
            scratch[i] += apart * apart
    index, most = 0, np.float32(-1)
    for i in range(count):
        squares[i] = min(squares[i], scratch[i])
        if squares[i] > most:
            index, most = i, squares[i]
    return index, most

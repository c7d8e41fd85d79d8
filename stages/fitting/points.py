"""Sort points into voxels, and measure distances to neighbours."""

from __future__ import annotations

import math

import numpy as np

from stages.common.compiled import compiled

_EMPTY = -1  # a free slot in a table of voxels
_AXIS = 20  # bits of a voxel's number along one axis


@compiled
def _slot_of(key: int, table: np.ndarray) -> int:
    """Where a key is in a table whose length is a power of two, or else the free slot where it belongs."""
    mask = len(table) - 1
    mixed = (key ^ (key >> 33)) * 0x9E3779B97F4A7C1
    slot = (mixed ^ (mixed >> 29)) & mask
    while table[slot, 0] != _EMPTY and table[slot, 0] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def voxels_of(points: np.ndarray, low: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Number the voxels that hold points [M, 3], in the order of their first points.

    Return the number of each point's voxel [M], and a hash table of the voxels: rows of key (see voxel_key; -1 in free
    slots) and number.
    """
    numbers = np.empty(len(points), np.int32)
    table = np.full((1 << 12, 2), _EMPTY, np.int64)
    count, last_key, number, scale = 0, _EMPTY, 0, 1 / size
    for i in range(len(points)):
        x, y, z = points[i, 0] - low[0], points[i, 1] - low[1], points[i, 2] - low[2]
        key = voxel_key(int(x * scale), int(y * scale), int(z * scale))
        if key != last_key:  # neighbours in a view often share a voxel
            slot = _slot_of(key, table)
            if table[slot, 0] == _EMPTY:
                table[slot, 0], table[slot, 1] = key, count
                count += 1
            number, last_key = table[slot, 1], key
            if 2 * count > len(table):
                table = _enlarged(table)
        numbers[i] = number
    return numbers, table


@compiled
def _enlarged(table: np.ndarray) -> np.ndarray:
    larger = np.full((4 * len(table), 2), _EMPTY, np.int64)
    for old in range(len(table)):
        if table[old, 0] != _EMPTY:
            larger[_slot_of(table[old, 0], larger)] = table[old]
    return larger


@compiled
def bounds_of(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The lowest coordinates [3] of points [M, 3], and the longest side of their box."""
    low, high = points[0].copy(), points[0].copy()
    for i in range(len(points)):
        for axis in range(3):
            low[axis], high[axis] = min(low[axis], points[i, axis]), max(high[axis], points[i, axis])
    return low, (high - low).max()


@compiled
def voxel_key(x: int, y: int, z: int) -> int:
    """One number for the voxel x, y, z, each below 2**20."""
    return (x << (2 * _AXIS)) | (y << _AXIS) | z


@compiled
def _by_voxel(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points sorted by voxel, and where each voxel's points begin among them."""
    begins = np.zeros(numbers.max() + 2, np.int64)
    for number in numbers:
        begins[number + 1] += 1
    begins = np.cumsum(begins)
    at, members = begins.copy(), np.empty(len(numbers), np.int64)
    for i in range(len(numbers)):
        members[at[numbers[i]]] = i
        at[numbers[i]] += 1
    return members, begins


@compiled
def neighbour_distances(points: np.ndarray) -> np.ndarray:
    """[N] float32: root mean square distance of points [N, 3] to their three nearest others; inf for too few.

    Each point is compared with those in the 27 voxels around it. If its neighbours may be farther away than that, it is
    compared again in voxels of twice the size.
    """
    amount = len(points)
    distances = np.full(amount, np.inf, np.float32)
    if amount < 4:
        return distances
    low, extent = bounds_of(points)
    size = max(extent / math.sqrt(amount), extent * 4e-6, 1e-30)
    waiting = np.arange(amount)
    while len(waiting):
        numbers, table = voxels_of(points, low, size)
        members, begins = _by_voxel(numbers)
        left = 0
        for i in waiting:
            nearest = _three_nearest(i, points, low, size, table, members, begins)
            if nearest[2] <= size * size or size > extent:
                distances[i] = math.sqrt((nearest[0] + nearest[1] + nearest[2]) / np.float32(3))
            else:
                waiting[left] = i
                left += 1
        waiting = waiting[:left]
        size *= 2
    return distances


@compiled
def _three_nearest(
    i: int, points: np.ndarray, low: np.ndarray, size: float, table: np.ndarray, members: np.ndarray, begins: np.ndarray
) -> tuple[np.float32, np.float32, np.float32]:
    """The squares of the smallest three distances from point i to others in the voxels around it."""
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    first = second = third = np.float32(np.inf)
    scale = 1 / size
    column, row, layer = int((x - low[0]) * scale), int((y - low[1]) * scale), int((z - low[2]) * scale)
    for at_x in range(max(column - 1, 0), column + 2):
        for at_y in range(max(row - 1, 0), row + 2):
            for at_z in range(max(layer - 1, 0), layer + 2):
                slot = _slot_of(voxel_key(at_x, at_y, at_z), table)
                if table[slot, 0] == _EMPTY:
                    continue
                number = table[slot, 1]
                for member in range(begins[number], begins[number + 1]):
                    j = members[member]
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
    return first, second, third

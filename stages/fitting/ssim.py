"""Structural similarity (SSIM) with the Gaussian window of its paper: the figure, and what its gradients share."""

from __future__ import annotations

import numpy as np

from stages.common.compiled import compiled

WINDOW, SIGMA = 11, 1.5
MARGIN = WINDOW // 2
C1, C2 = np.float32(0.01**2), np.float32(0.03**2)


def window_weights() -> np.ndarray:
    """[11] float32, which sum to 1."""
    offsets = np.arange(WINDOW) - MARGIN
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return (weights / weights.sum()).astype(np.float32)


@compiled
def moments(
    drawn: np.ndarray, wanted: np.ndarray, weights: np.ndarray, tall: np.ndarray, maps: np.ndarray
) -> tuple[int, int]:
    """Fill maps with the window's means of a, b, aa, bb, ab, where it fits; return the numbers of rows and columns."""
    height, width = drawn.shape
    rows, columns = height - 2 * MARGIN, width - 2 * MARGIN
    for y in range(rows):
        tall[:, y, :width] = 0
        for k in range(len(weights)):
            w = weights[k]
            for x in range(width):
                a, b = drawn[y + k, x], wanted[y + k, x]
                tall[0, y, x] += w * a
                tall[1, y, x] += w * b
                tall[2, y, x] += w * a * a
                tall[3, y, x] += w * b * b
                tall[4, y, x] += w * a * b
    for y in range(rows):
        maps[:, y, :columns] = 0
        for k in range(len(weights)):
            w = weights[k]
            for field in range(5):
                for x in range(columns):
                    maps[field, y, x] += w * tall[field, y, x + k]
    return rows, columns


@compiled
def mean_ssim(drawn: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> float:
    """The mean SSIM of two images [H, W]."""
    tall, maps = np.empty((5, *drawn.shape), np.float32), np.empty((5, *drawn.shape), np.float32)
    rows, columns = moments(drawn, wanted, weights, tall, maps)
    two, total = np.float32(2), 0.0
    for y in range(rows):
        for x in range(columns):
            a, b = maps[0, y, x], maps[1, y, x]
            over = (two * a * b + C1) * (two * (maps[4, y, x] - a * b) + C2)
            total += over / ((a * a + b * b + C1) * (maps[2, y, x] - a * a + maps[3, y, x] - b * b + C2))
    return total / (rows * columns)

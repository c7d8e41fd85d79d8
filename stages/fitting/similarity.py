"""Structural similarity with the Gaussian window of its paper, and its gradient for the CPU engine, on white.

planes [9, H, W] are scratch: 0-2 what is drawn, 3-5 what is wanted, 6-8 the gradient.
"""

from __future__ import annotations

import numpy as np

from stages.fitting.compiled import compiled
from stages.fitting.lanes import LANES
from stages.fitting.raster import CANVAS, SIDE

WINDOW, SIGMA = 11, 1.5
_MARGIN = WINDOW // 2
C1, C2 = np.float32(0.01**2), np.float32(0.03**2)


def window_weights() -> np.ndarray:
    """[11] float32, which sum to 1."""
    offsets = np.arange(WINDOW) - _MARGIN
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return (weights / weights.sum()).astype(np.float32)


class Similarity:
    """Scratch for images of one size, made once an object."""

    def __init__(self, height: int, width: int):
        self.weights = window_weights()
        self.planes = np.zeros((9, height, width), np.float32)
        self.tall = np.zeros((5, height, width), np.float32)
        self.maps = np.zeros((5, height, width), np.float32)

    def add_slope(
        self, image: np.ndarray, target: np.ndarray, box: np.ndarray, columns: int, share: float, slope: np.ndarray
    ) -> None:
        """slope becomes (1 - share) of itself and `share` of the gradient of D-SSIM times the number of numbers.

        So it has the size of the gradient of a sum of absolute errors. box: top, bottom, left, right.
        """
        top, bottom, left, right = (int(side) for side in box)
        if min(bottom - top, right - left) < WINDOW:
            return
        to_planes(image, target, columns, self.planes)
        for channel in range(3):
            slope_of_box(
                self.planes[channel, top:bottom, left:right], self.planes[3 + channel, top:bottom, left:right],
                self.weights, self.tall, self.maps, self.planes[6 + channel, top:bottom, left:right],
            )  # fmt: skip
        join(self.planes, columns, top, bottom, left, right, np.float32(share), image, slope)


def box_of(alphas: np.ndarray) -> np.ndarray:
    """[4]: top, bottom, left, right of what [H, W] has above 0, with room for the window."""
    rows, columns = np.flatnonzero((alphas > 0).any(1)), np.flatnonzero((alphas > 0).any(0))
    if len(rows) == 0:
        return np.zeros(4, np.int64)
    height, width = alphas.shape
    return np.array([
        max(rows[0] - _MARGIN, 0), min(rows[-1] + 1 + _MARGIN, height),
        max(columns[0] - _MARGIN, 0), min(columns[-1] + 1 + _MARGIN, width),
    ])  # fmt: skip


@compiled
def to_planes(image, target, columns, planes):
    """From blocks, image [B * 80] and target [B * 64], to planes 0-2 and 3-5, both on white."""
    _, height, width = planes.shape
    one = np.float32(1)
    for y in range(height):
        for x in range(width):
            block = (y // SIDE) * columns + x // SIDE
            lane = (y % SIDE) * SIDE + x % SIDE
            light = image[block * CANVAS + 4 * LANES + lane]
            bare = one - target[block * 4 * LANES + 3 * LANES + lane]
            for channel in range(3):
                planes[channel, y, x] = image[block * CANVAS + channel * LANES + lane] + light
                planes[3 + channel, y, x] = target[block * 4 * LANES + channel * LANES + lane] + bare


@compiled
def join(planes, columns, top, bottom, left, right, share, image, slope):
    """Mix the gradient in planes 6-8 into slope's rows; see raster.py on what slope holds."""
    rest = np.float32(1) - share
    for place in range(len(slope)):
        if (place // LANES) % 5 != 3:
            slope[place] *= rest
    for y in range(top, bottom):
        for x in range(left, right):
            block = (y // SIDE) * columns + x // SIDE
            at = block * CANVAS + (y % SIDE) * SIDE + x % SIDE
            behind = np.float32(0)
            for channel in range(3):
                pull = share * planes[6 + channel, y, x]
                slope[at + channel * LANES] += pull
                behind += pull * planes[channel, y, x]
            slope[at + 4 * LANES] += behind


@compiled
def _moments(drawn, wanted, weights, tall, maps):
    """Fill maps: the window's means of a, b, aa, bb, ab, where it fits; returns their numbers of rows and columns."""
    height, width = drawn.shape
    rows, columns = height - 2 * _MARGIN, width - 2 * _MARGIN
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
def mean_similarity(drawn, wanted, weights):
    """The mean SSIM of two [H, W]."""
    tall, maps = np.empty((5, *drawn.shape), np.float32), np.empty((5, *drawn.shape), np.float32)
    rows, columns = _moments(drawn, wanted, weights, tall, maps)
    two, total = np.float32(2), 0.0
    for y in range(rows):
        for x in range(columns):
            a, b = maps[0, y, x], maps[1, y, x]
            over = (two * a * b + C1) * (two * (maps[4, y, x] - a * b) + C2)
            total += over / ((a * a + b * b + C1) * (maps[2, y, x] - a * a + maps[3, y, x] - b * b + C2))
    return total / (rows * columns)


@compiled
def slope_of_box(drawn, wanted, weights, tall, maps, slope):
    """Fill slope [h, w] with d(h w - sum of SSIM) / d(drawn), about; windows count where they fit."""
    height, width = drawn.shape
    rows, columns = _moments(drawn, wanted, weights, tall, maps)
    for y in range(rows):
        _slopes_of_moments(maps[0, y], maps[1, y], maps[2, y], maps[3, y], maps[4, y], columns)
    # the way back: the same window, over all places where it fitted
    for y in range(rows):
        tall[:3, y, :width] = 0
        for k in range(len(weights)):
            w = weights[k]
            for field in range(3):
                for x in range(columns):
                    tall[field, y, x + k] += w * maps[field, y, x]
    for y in range(height):
        slope[y] = 0
        for k in range(max(0, y - rows + 1), min(len(weights), y + 1)):
            w = weights[k]
            for x in range(width):
                mean = tall[0, y - k, x]
                square, product = tall[1, y - k, x], tall[2, y - k, x]
                slope[y, x] -= w * (mean + np.float32(2) * square * drawn[y, x] + product * wanted[y, x])


@compiled
def _slopes_of_moments(mean_a, mean_b, square_a, square_b, product, count):
    """In place: the derivatives of SSIM to the mean and the mean square of a, and to the mean product, in 0, 1, 2."""
    two = np.float32(2)
    for x in range(count):
        a, b = mean_a[x], mean_b[x]
        over_1, under_1 = two * a * b + C1, a * a + b * b + C1
        over_2 = two * (product[x] - a * b) + C2
        under_2 = square_a[x] - a * a + square_b[x] - b * b + C2
        inverse = np.float32(1) / (under_1 * under_2)
        likeness = over_1 * over_2 * inverse
        to_product = two * over_1 * inverse
        to_square = -likeness / under_2
        to_mean = two * b * over_2 * inverse - two * a * likeness / under_1 - two * a * to_square - b * to_product
        mean_a[x], mean_b[x], square_a[x] = to_mean, to_square, to_product

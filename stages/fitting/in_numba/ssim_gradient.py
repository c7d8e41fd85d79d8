"""The gradient of D-SSIM for the CPU engine, on white.

planes [9, H, W] are scratch: 0-2 the drawn image, 3-5 the target, 6-8 the gradient.
"""

from __future__ import annotations

import numpy as np

from stages.common.compiled import compiled
from stages.fitting.in_numba.blending import BLOCK_SIZE, SIDE
from stages.fitting.in_numba.vectors import LANES
from stages.fitting.ssim import C1, C2, MARGIN, WINDOW, moments, window_weights


class SsimGradient:
    """The scratch for images of one size, allocated once per object."""

    def __init__(self, height: int, width: int):
        self.weights = window_weights()
        self.planes = np.zeros((9, height, width), np.float32)
        self.tall = np.zeros((5, height, width), np.float32)
        self.maps = np.zeros((5, height, width), np.float32)

    def add_to(
        self, slope: np.ndarray, image: np.ndarray, target: np.ndarray, box: np.ndarray, columns: int, share: float
    ) -> None:
        """Set slope to (1 - share) of itself plus `share` of the gradient of D-SSIM, summed over pixels and channels.

        Such a sum is of the size of a sum of absolute errors. box: top, bottom, left, right.
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
        add_planes(self.planes, columns, top, bottom, left, right, np.float32(share), slope)


def box_of(alphas: np.ndarray) -> np.ndarray:
    """[4]: top, bottom, left, right of the pixels above 0 in [H, W], with a margin for the window."""
    rows, columns = np.flatnonzero((alphas > 0).any(1)), np.flatnonzero((alphas > 0).any(0))
    if len(rows) == 0:
        return np.zeros(4, np.int64)
    height, width = alphas.shape
    return np.array([
        max(rows[0] - MARGIN, 0), min(rows[-1] + 1 + MARGIN, height),
        max(columns[0] - MARGIN, 0), min(columns[-1] + 1 + MARGIN, width),
    ])  # fmt: skip


@compiled
def to_planes(image: np.ndarray, target: np.ndarray, columns: int, planes: np.ndarray) -> None:
    """Fill planes 0-2 and 3-5 from blocks, image [B * 80] and target [B * 64], both on white."""
    _, height, width = planes.shape
    one = np.float32(1)
    for y in range(height):
        for x in range(width):
            block = (y // SIDE) * columns + x // SIDE
            lane = (y % SIDE) * SIDE + x % SIDE
            light = image[block * BLOCK_SIZE + 4 * LANES + lane]
            bare = one - target[block * 4 * LANES + 3 * LANES + lane]
            for channel in range(3):
                planes[channel, y, x] = image[block * BLOCK_SIZE + channel * LANES + lane] + light
                planes[3 + channel, y, x] = target[block * 4 * LANES + channel * LANES + lane] + bare


@compiled
def add_planes(
    planes: np.ndarray, columns: int, top: int, bottom: int, left: int, right: int, share: np.float32, slope: np.ndarray
) -> None:
    """Mix the gradient in planes 6-8 into slope; see blending.py on what slope holds."""
    rest = np.float32(1) - share
    for index in range(len(slope)):
        if (index // LANES) % 5 != 3:
            slope[index] *= rest
    for y in range(top, bottom):
        for x in range(left, right):
            block = (y // SIDE) * columns + x // SIDE
            at = block * BLOCK_SIZE + (y % SIDE) * SIDE + x % SIDE
            behind = np.float32(0)
            for channel in range(3):
                pull = share * planes[6 + channel, y, x]
                slope[at + channel * LANES] += pull
                behind += pull * planes[channel, y, x]
            slope[at + 4 * LANES] += behind


@compiled
def slope_of_box(
    drawn: np.ndarray, wanted: np.ndarray, weights: np.ndarray, tall: np.ndarray, maps: np.ndarray, slope: np.ndarray
) -> None:
    """Fill slope [h, w] with the gradient of -(sum of SSIM) with respect to drawn; windows count where they fit."""
    height, width = drawn.shape
    rows, columns = moments(drawn, wanted, weights, tall, maps)
    for y in range(rows):
        _slopes_of_moments(maps[0, y], maps[1, y], maps[2, y], maps[3, y], maps[4, y], columns)
    # backwards: the same window, over all positions at which it fitted
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
def _slopes_of_moments(
    mean_a: np.ndarray, mean_b: np.ndarray, square_a: np.ndarray, square_b: np.ndarray, product: np.ndarray, count: int
) -> None:
    """Overwrite mean_a, mean_b and square_a with the derivatives of SSIM by mean_a, square_a and product."""
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

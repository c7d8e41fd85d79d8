"""The gradient of D-SSIM for the CPU engine, on white.

Images are planes here: a channel is rows of `stride` numbers, so that sixteen neighbours of a row are one vector. The
box around an object consists of whole blocks.
"""

from __future__ import annotations

import numpy as np

from stages.common.compiled import compiled
from stages.fitting.in_numba.blending import BLOCK_SIZE, SIDE, count_blocks
from stages.fitting.in_numba.vectors import LANES, load, spread, store, where_less
from stages.fitting.ssim import C1, C2, MARGIN, WINDOW, window_weights


class SsimGradient:
    """The scratch for images of one size, allocated once per object."""

    def __init__(self, height: int, width: int):
        self.weights = window_weights()
        self.columns, rows = count_blocks(width), count_blocks(height) * SIDE
        self.stride = (self.columns * SIDE // LANES + 2) * LANES  # vectors may begin at the last pixel of a row
        self.plane = rows * self.stride + LANES
        self.drawn, self.wanted, self.slopes, self.tall = (np.zeros(3 * self.plane, np.float32) for _ in range(4))
        self.lines = np.zeros(5 * (self.stride + LANES), np.float32)
        self.pulls = np.zeros(3 * (self.stride + 2 * LANES), np.float32)

    def add_to(self, slope: np.ndarray, image: np.ndarray, target: np.ndarray, box: np.ndarray, share: float) -> None:
        """Set slope to (1 - share) of itself plus `share` of the gradient of D-SSIM, summed over pixels and channels.

        Such a sum is of the size of a sum of absolute errors. box: top, bottom, left, right.
        """
        top, bottom, left, right = (int(side) for side in box)
        if min(bottom - top, right - left) < WINDOW:
            return
        stride, planes = self.stride, (self.drawn, self.wanted, self.slopes)
        for blocks, is_target, plane in ((image, False, self.drawn), (target, True, self.wanted)):
            to_planes(blocks, is_target, self.columns, top, bottom, left, right, stride, self.plane, plane)
        for channel in range(3):
            drawn, wanted, slopes = (plane[channel * self.plane :] for plane in planes)
            slope_of_box(
                drawn, wanted, self.weights, stride, top, bottom, left, right, self.lines, self.pulls, self.tall, slopes
            )
        add_planes(
            self.slopes, self.drawn, target, self.columns, top, bottom, left, right, stride, self.plane,
            np.float32(share), slope,
        )  # fmt: skip


def box_of(alphas: np.ndarray) -> np.ndarray:
    """[4]: top, bottom, left, right of the blocks with pixels above 0 in [H, W], with a margin for the window.

    The right and the bottom end with the image.
    """
    rows, columns = np.flatnonzero((alphas > 0).any(1)), np.flatnonzero((alphas > 0).any(0))
    if len(rows) == 0:
        return np.zeros(4, np.int64)
    height, width = alphas.shape
    return np.array([
        max(rows[0] - MARGIN, 0) // SIDE * SIDE, min(count_blocks(rows[-1] + 1 + MARGIN) * SIDE, height),
        max(columns[0] - MARGIN, 0) // SIDE * SIDE, min(count_blocks(columns[-1] + 1 + MARGIN) * SIDE, width),
    ])  # fmt: skip


@compiled
def to_planes(
    blocks: np.ndarray, is_target: bool, columns: int, top: int, bottom: int, left: int, right: int, stride: int,
    plane: int, planes: np.ndarray,
) -> None:  # fmt: skip
    """Fill planes with the box of an image on white, from the blocks of a target, which end with the coverage, or of a
    canvas, which end with the light that passes.
    """
    one, lanes, size = np.float32(1), np.empty(LANES, np.float32), 4 * LANES if is_target else BLOCK_SIZE
    for row in range(top // SIDE, -(-bottom // SIDE)):
        for column in range(left // SIDE, -(-right // SIDE)):
            block = (row * columns + column) * size
            light = load(blocks, block + size - LANES)
            if is_target:
                light = spread(one) - light
            for channel in range(3):
                store(lanes, 0, load(blocks, block + channel * LANES) + light)
                at = channel * plane + row * SIDE * stride + column * SIDE
                for y in range(SIDE):
                    for x in range(SIDE):
                        planes[at + y * stride + x] = lanes[y * SIDE + x]


@compiled
def add_planes(
    slopes: np.ndarray, drawn: np.ndarray, target: np.ndarray, columns: int, top: int, bottom: int, left: int,
    right: int, stride: int, plane: int, share: np.float32, slope: np.ndarray,
) -> None:  # fmt: skip
    """Mix the gradient in planes into slope; see blending.py on what slope contains."""
    zero, part, rest = spread(np.float32(0)), spread(share), spread(np.float32(1) - share)
    lanes, colors = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for at in range(0, len(slope), BLOCK_SIZE):
        for channel in (0, 1, 2, 4):
            store(slope, at + channel * LANES, load(slope, at + channel * LANES) * rest)
    for row in range(top // SIDE, -(-bottom // SIDE)):
        for column in range(left // SIDE, -(-right // SIDE)):
            block = row * columns + column
            coverage = load(target, block * 4 * LANES + 3 * LANES)  # below 0 outside the image
            behind = zero
            for channel in range(3):
                start = channel * plane + row * SIDE * stride + column * SIDE
                for y in range(SIDE):
                    for x in range(SIDE):
                        lanes[y * SIDE + x] = slopes[start + y * stride + x]
                        colors[y * SIDE + x] = drawn[start + y * stride + x]
                pull = where_less(coverage, zero, zero, part * load(lanes, 0))
                at = block * BLOCK_SIZE + channel * LANES
                store(slope, at, load(slope, at) + pull)
                behind = behind + pull * load(colors, 0)
            at = block * BLOCK_SIZE + 4 * LANES
            store(slope, at, load(slope, at) + behind)


@compiled
def slope_of_box(
    drawn: np.ndarray, wanted: np.ndarray, weights: np.ndarray, stride: int, top: int, bottom: int, left: int,
    right: int, lines: np.ndarray, pulls: np.ndarray, tall: np.ndarray, slopes: np.ndarray,
) -> None:  # fmt: skip
    """Fill the box in slopes with the gradient of -(sum of SSIM) with respect to drawn; windows count where they fit.

    Arguments but the box and the weights are flat. Scratch: lines, pulls, tall.
    """
    rows, width = bottom - top - 2 * MARGIN, right - left
    span = len(pulls) // 3
    for y in range(rows):
        start = (top + y) * stride + left
        _mean_of_columns(drawn, wanted, weights, stride, start, width, lines)
        _slopes_of_means(lines, weights, width - 2 * MARGIN, pulls)
        for field in range(3):  # backwards: the same window, over all positions at which it fitted
            for x in range(0, width, LANES):
                total = spread(np.float32(0))
                for k in range(WINDOW):
                    total = total + spread(weights[k]) * load(pulls, field * span + LANES + x - k)
                store(tall, (y * 3 + field) * stride + x, total)
    for y in range(bottom - top):
        for x in range(0, width, LANES):
            mean, square, product = spread(np.float32(0)), spread(np.float32(0)), spread(np.float32(0))
            for k in range(max(0, y - rows + 1), min(WINDOW, y + 1)):
                w, at = spread(weights[k]), (y - k) * 3 * stride + x
                mean = mean + w * load(tall, at)
                square = square + w * load(tall, at + stride)
                product = product + w * load(tall, at + 2 * stride)
            at = (top + y) * stride + left + x
            a, b = load(drawn, at), load(wanted, at)
            store(slopes, at, spread(np.float32(-1)) * (mean + (square + square) * a + product * b))


@compiled
def _mean_of_columns(
    drawn: np.ndarray, wanted: np.ndarray, weights: np.ndarray, stride: int, start: int, width: int, lines: np.ndarray
) -> None:
    """Fill five lines with the window's means of a, b, aa, bb, ab along columns, from the row at `start` on."""
    span = len(lines) // 5
    for x in range(0, width, LANES):
        zero = spread(np.float32(0))
        a, b, aa, bb, ab = zero, zero, zero, zero, zero
        for k in range(WINDOW):
            w, at = spread(weights[k]), start + k * stride + x
            p, q = load(drawn, at), load(wanted, at)
            wp, wq = w * p, w * q
            a, b, aa, bb, ab = a + wp, b + wq, aa + wp * p, bb + wq * q, ab + wp * q
        store(lines, x, a)
        store(lines, span + x, b)
        store(lines, 2 * span + x, aa)
        store(lines, 3 * span + x, bb)
        store(lines, 4 * span + x, ab)


@compiled
def _slopes_of_means(lines: np.ndarray, weights: np.ndarray, count: int, pulls: np.ndarray) -> None:
    """Fill pulls with the derivatives of `count` SSIM by the window's means of a, aa and ab; 0 before and after."""
    span, width = len(pulls) // 3, len(lines) // 5
    c1, c2, one = spread(C1), spread(C2), spread(np.float32(1))
    for x in range(0, count, LANES):
        zero = spread(np.float32(0))
        a, b, aa, bb, ab = zero, zero, zero, zero, zero
        for k in range(WINDOW):
            w, at = spread(weights[k]), x + k
            a, b, aa = a + w * load(lines, at), b + w * load(lines, width + at), aa + w * load(lines, 2 * width + at)
            bb, ab = bb + w * load(lines, 3 * width + at), ab + w * load(lines, 4 * width + at)
        over_1, under_1 = a * b + a * b + c1, a * a + b * b + c1
        over_2 = (ab - a * b) + (ab - a * b) + c2
        under_2 = aa - a * a + bb - b * b + c2
        inverse = one / (under_1 * under_2)
        likeness = over_1 * over_2 * inverse
        to_product = (over_1 + over_1) * inverse
        to_square = zero - likeness / under_2
        to_mean = (b + b) * over_2 * inverse - (a + a) * (likeness / under_1 + to_square) - b * to_product
        store(pulls, LANES + x, to_mean)
        store(pulls, span + LANES + x, to_square)
        store(pulls, 2 * span + LANES + x, to_product)
    for field in range(3):
        for x in range(count, min(count + 2 * LANES, span - LANES)):
            pulls[field * span + LANES + x] = 0

"""Blend ellipses front to back into one image, and propagate the image's gradient back to each of them.

An image is a sequence of blocks of 4 x 4 pixels, so that each channel of a block is one vector of sixteen lanes.
Ellipses are drawn one after the other, nearest first, each into the blocks that it reaches. Every drawn block is kept
as an entry (its number and the sixteen alphas), so that the backward pass needs no exponential and visits nothing that
was hidden or too faint.

canvas [B, 5, 16]: red, green, blue, transmittance while drawing (0 once a pixel is full), final transmittance.
slope  [B, 5, 16]: dL/d(red, green, blue), transmittance before the next ellipse, what lies behind times the gradient.
sums   [N, 9]: dL/d(red, green, blue), then with v = dL/d(log alpha) the sums of v, v x, v y, v x x, v x y, v y y.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stages.common.compiled import compiled
from stages.fitting.in_numba.projection import (
    ALPHA,
    CENTER_X,
    CENTER_Y,
    CONIC_A,
    CONIC_B,
    CONIC_C,
    CUT,
    HALF_HEIGHT,
    REACH,
)
from stages.fitting.in_numba.vectors import LANES, largest, load, spread, store, total, where_at_least, where_less

SIDE = 4  # pixels of a block's edge
BLOCK_SIZE = 5 * LANES
OPAQUE = np.float32(0.999)  # no Gaussian hides more than this
FULL = np.float32(1e-4)  # a pixel that lets less through is not drawn any further
_SLACK = np.float32(1e-3)  # pixels, against rounding in the bounds; what is outside is cut by its alpha anyway
_FARTHEST = np.float32(6.0)  # exp(-6) is below CUT

OFFSETS = np.concatenate([np.tile(np.arange(SIDE), SIDE), np.repeat(np.arange(SIDE), SIDE)]).astype(np.float32)  # x, y


def count_blocks(pixels: int) -> int:
    """The number of blocks along a side of so many pixels."""
    return -(-pixels // SIDE)


def to_blocks(image: np.ndarray) -> np.ndarray:
    """[H, W, C] to [B, C, 16], padded with zeros."""
    height, width, channels = image.shape
    rows, columns = count_blocks(height), count_blocks(width)
    padded = np.zeros((rows * SIDE, columns * SIDE, channels), np.float32)
    padded[:height, :width] = image
    split = padded.reshape(rows, SIDE, columns, SIDE, channels).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(split.reshape(rows * columns, channels, LANES))


def from_blocks(blocks: np.ndarray, height: int, width: int) -> np.ndarray:
    """[B, C, 16] to [H, W, C]."""
    rows, columns = count_blocks(height), count_blocks(width)
    split = blocks.reshape(rows, columns, -1, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
    return split.reshape(rows * SIDE, columns * SIDE, -1)[:height, :width]


@compiled
def sort_by_depth(
    depths: np.ndarray, order: np.ndarray, spare: np.ndarray, keys: np.ndarray, counts: np.ndarray
) -> int:
    """Fill order with the visible ones, nearest first; return their number. Ties keep the order of their indices.

    A radix sort over the bits of the positive floats, eleven at a time. Scratch: spare [N], keys [N], counts [2048].
    """
    bits = depths.view(np.int32)
    visible = 0
    for i in range(len(depths)):
        if bits[i] > 0:
            order[visible] = i
            visible += 1
    for shift in (0, 11, 22):
        counts[:] = 0
        for k in range(visible):
            keys[k] = (bits[order[k]] >> shift) & 2047
            counts[keys[k]] += 1
        position = 0
        for digit in range(2048):
            step = counts[digit]
            counts[digit] = position
            position += step
        for k in range(visible):
            spare[counts[keys[k]]] = order[k]
            counts[keys[k]] += 1
        order[:visible] = spare[:visible]
    return visible


@compiled
def _exp_minus(q: Any) -> Any:
    """exp(-q) for 0 <= q <= 6, to 1e-6: a polynomial for exp(-q / 16), squared four times."""
    x = where_less(q, spread(_FARTHEST), q, spread(_FARTHEST)) * spread(np.float32(1 / 16))
    y = spread(np.float32(-0.006917927652258515)) * x + spread(np.float32(0.0410837019534876))
    y = y * x + spread(np.float32(-0.1665520626770997))
    y = y * x + spread(np.float32(0.49998936859955023))
    y = y * x + spread(np.float32(-0.9999996043263526))
    y = y * x + spread(np.float32(0.9999999964931318))
    y = y * y
    y = y * y
    y = y * y
    return y * y


@compiled
def _columns(
    a: Any,
    b: Any,
    c: Any,
    determinant: Any,
    reach: Any,
    center_x: Any,
    top: Any,
    bottom: Any,
    half_height: Any,
    columns: int,
) -> tuple[int, int]:
    """The range of columns that the ellipse touches between two heights; these are relative to its centre."""
    top, bottom = max(top, -half_height), min(bottom, half_height)
    widest = b / c * math.sqrt(reach * c / determinant)  # height of the leftmost point; the rightmost is its mirror
    right_y, left_y = min(max(-widest, top), bottom), min(max(widest, top), bottom)
    right = (-b * right_y + math.sqrt(max(reach * a - determinant * right_y * right_y, np.float32(0)))) / a
    left = (-b * left_y - math.sqrt(max(reach * a - determinant * left_y * left_y, np.float32(0)))) / a
    first = math.ceil((center_x + left - np.float32(SIDE - 0.5) - _SLACK) / SIDE)
    last = math.floor((center_x + right - np.float32(0.5) + _SLACK) / SIDE)
    return max(int(first), 0), min(int(last) + 1, columns)


@compiled
def draw(
    colors: np.ndarray, ellipses: np.ndarray, order: np.ndarray, visible: int, columns: int, rows: int,
    offsets: np.ndarray, canvas: np.ndarray, full: np.ndarray, blocks: np.ndarray, alphas: np.ndarray,
    starts: np.ndarray,
) -> int:  # fmt: skip
    """Draw the visible ellipses in colors [3, N].

    Flat arrays: canvas [B * 80], blocks [E], alphas [E * 16]; starts [N + 1], full [B].
    Return the number of entries E, or -1 if blocks and alphas are too small for them.
    """
    zero, one, half = spread(np.float32(0)), spread(np.float32(1)), np.float32(0.5)
    offset_x, offset_y = load(offsets, 0), load(offsets, LANES)
    for block in range(columns * rows):
        full[block] = 0
        for channel in range(3):
            store(canvas, block * BLOCK_SIZE + channel * LANES, zero)
        store(canvas, block * BLOCK_SIZE + 3 * LANES, one)
        store(canvas, block * BLOCK_SIZE + 4 * LANES, one)
    entry = 0
    capacity = len(blocks)
    for k in range(visible):
        starts[k] = entry
        i = order[k]
        center_x, center_y = ellipses[i, CENTER_X], ellipses[i, CENTER_Y]
        a, b, c = ellipses[i, CONIC_A], ellipses[i, CONIC_B], ellipses[i, CONIC_C]
        half_height, reach = ellipses[i, HALF_HEIGHT], ellipses[i, REACH]
        determinant = a * c - b * b
        opacity = spread(ellipses[i, ALPHA])
        red, green, blue = (
            spread(colors[0, i]),
            spread(colors[1, i]),
            spread(colors[2, i]),
        )
        first_row = max(int(math.ceil((center_y - half_height - np.float32(SIDE - 0.5) - _SLACK) / SIDE)), 0)
        last_row = min(int(math.floor((center_y + half_height - np.float32(0.5) + _SLACK) / SIDE)), rows - 1)
        for row in range(first_row, last_row + 1):
            top = np.float32(row * SIDE) + np.float32(0.5) - center_y
            bottom = top + np.float32(SIDE - 1)
            first, last = _columns(a, b, c, determinant, reach, center_x, top, bottom, half_height, columns)
            y = spread(top) + offset_y
            slant, constant = spread(b) * y, spread(half * c) * y * y
            if entry + last - first > capacity:
                return -1
            for column in range(first, last):
                block = row * columns + column
                if full[block]:
                    continue
                x = spread(np.float32(column * SIDE) + np.float32(0.5) - center_x) + offset_x
                alpha = opacity * _exp_minus(x * (spread(half * a) * x + slant) + constant)
                alpha = where_less(alpha, spread(OPAQUE), alpha, spread(OPAQUE))
                alpha = where_less(alpha, spread(CUT), zero, alpha)
                at = block * BLOCK_SIZE
                light = load(canvas, at + 3 * LANES)
                after = light - light * alpha
                alpha = where_less(spread(FULL), after, alpha, zero)
                lit = where_less(spread(FULL), after, after, zero)
                store(canvas, at + 3 * LANES, lit)
                if largest(alpha) == 0:
                    full[block] = largest(lit) == 0
                    continue
                weight = alpha * light
                store(canvas, at, load(canvas, at) + weight * red)
                store(canvas, at + LANES, load(canvas, at + LANES) + weight * green)
                store(canvas, at + 2 * LANES, load(canvas, at + 2 * LANES) + weight * blue)
                final = load(canvas, at + 4 * LANES)
                store(canvas, at + 4 * LANES, where_less(spread(FULL), after, after, final))
                store(alphas, entry * LANES, alpha)
                blocks[entry] = block
                entry += 1
    starts[visible] = entry
    return entry


@compiled
def draw_backward(
    colors: np.ndarray, ellipses: np.ndarray, order: np.ndarray, visible: int, columns: int, offsets: np.ndarray,
    blocks: np.ndarray, alphas: np.ndarray, starts: np.ndarray, slope: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Fill sums [N, 9] for the visible ellipses, after `draw`. Overwrites slope [B * 80], which `compare` filled."""
    zero, one = spread(np.float32(0)), spread(np.float32(1))
    offset_x, offset_y = load(offsets, 0), load(offsets, LANES)
    for k in range(visible):
        i = order[k]
        center_x, center_y = ellipses[i, CENTER_X], ellipses[i, CENTER_Y]
        red, green, blue = (
            spread(colors[0, i]),
            spread(colors[1, i]),
            spread(colors[2, i]),
        )
        to_red, to_green, to_blue, moment = zero, zero, zero, zero
        moment_x, moment_y, moment_xx, moment_xy, moment_yy = zero, zero, zero, zero, zero
        for entry in range(starts[k], starts[k + 1]):
            block = blocks[entry]
            row = block // columns
            x = spread(np.float32((block - row * columns) * SIDE) + np.float32(0.5) - center_x) + offset_x
            y = spread(np.float32(row * SIDE) + np.float32(0.5) - center_y) + offset_y
            at = block * BLOCK_SIZE
            alpha = load(alphas, entry * LANES)
            slope_red, slope_green, slope_blue = load(slope, at), load(slope, at + LANES), load(slope, at + 2 * LANES)
            light = load(slope, at + 3 * LANES)
            weight = alpha * light
            own = red * slope_red + green * slope_green + blue * slope_blue
            behind = load(slope, at + 4 * LANES) - weight * own
            through = one - alpha
            store(slope, at + 3 * LANES, light * through)
            store(slope, at + 4 * LANES, behind)
            to_red = to_red + weight * slope_red
            to_green = to_green + weight * slope_green
            to_blue = to_blue + weight * slope_blue
            v = weight * own - alpha * behind / through
            v = where_at_least(alpha, spread(OPAQUE), zero, v)  # held by the clamp
            v_x, v_y = v * x, v * y
            moment, moment_x, moment_y = moment + v, moment_x + v_x, moment_y + v_y
            moment_xx, moment_xy, moment_yy = moment_xx + v_x * x, moment_xy + v_x * y, moment_yy + v_y * y
        sums[i, 0], sums[i, 1], sums[i, 2] = total(to_red), total(to_green), total(to_blue)
        sums[i, 3], sums[i, 4], sums[i, 5] = total(moment), total(moment_x), total(moment_y)
        sums[i, 6], sums[i, 7], sums[i, 8] = total(moment_xx), total(moment_xy), total(moment_yy)


@compiled
def compare(
    canvas: np.ndarray, target: np.ndarray, background: np.ndarray, parabola: Any, slope: np.ndarray, block_count: int
) -> float:
    """Compare the image on a background with target [block_count * 4 * 16] (premultiplied RGB, alpha), and fill slope.

    Return the sum of absolute errors. The loss is a parabola for errors below parabola. Padding has an alpha below 0.
    """
    zero, one = spread(np.float32(0)), spread(np.float32(1))
    error = zero
    for block in range(block_count):
        at, seen = block * BLOCK_SIZE, block * 4 * LANES
        coverage = load(target, seen + 3 * LANES)
        inside = where_less(coverage, zero, zero, one)
        light = load(canvas, at + 4 * LANES)
        behind = zero
        for channel in range(3):
            back = spread(background[channel])
            color = load(canvas, at + channel * LANES) + light * back
            wanted = load(target, seen + channel * LANES) + (one - coverage) * back
            difference = (color - wanted) * inside
            error = error + where_less(difference, zero, zero - difference, difference)
            pull = difference * spread(np.float32(1) / parabola)
            pull = where_less(pull, one, pull, one)
            pull = where_less(pull, zero - one, zero - one, pull)
            store(slope, at + channel * LANES, pull)
            behind = behind + pull * color
        store(slope, at + 3 * LANES, one)
        store(slope, at + 4 * LANES, behind)
    return total(error)

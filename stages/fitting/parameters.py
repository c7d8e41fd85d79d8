"""A splat as the rows of numbers that engines optimise: their layout, learning rates, and conversion.

Rows of [R, N] float32: mean 0-2, log scale 3-5, quaternion wxyz 6-9, opacity logit 10, RGB 11-13, and from 14 on the
spherical harmonics that the colour's degree adds. R is 14 at degree 0.
"""

from __future__ import annotations

import math

import numpy as np

from stages.artifacts.splat import SH_ZERO, Splat

MEAN, LOG_SCALE, QUATERNION, OPACITY, COLOR, REST = 0, 3, 6, 10, 11, 14
_RATES = {MEAN: 3.5e-4, LOG_SCALE: 6e-2, QUATERNION: 1e-3, OPACITY: 5e-2, COLOR: 1e-2, REST: 2e-4}


def count_rows(degree: int) -> int:
    """R, the number of rows for spherical harmonics of this degree."""
    return REST + 3 * ((degree + 1) ** 2 - 1)


def degree_of(rows: int) -> int:
    return math.isqrt((rows - REST) // 3 + 1) - 1


def learning_rates(rows: int) -> np.ndarray:
    """[R] float32; lengths are in radii of the unit sphere, which every object fills."""
    rates = np.zeros(rows, np.float32)
    for first, rate in sorted(_RATES.items()):
        rates[first:] = rate
    return rates


def pack(splat: Splat, degree: int = 0) -> np.ndarray:
    """[R, N] float32; harmonics that the splat does not have begin at 0."""
    colors = np.clip(splat.sh[:, 0] * SH_ZERO + 0.5, 0, 1)
    rest = np.zeros((len(splat), count_rows(degree) - REST), np.float32)
    given = splat.sh[:, 1:].reshape(len(splat), -1)
    rest[:, : given.shape[1]] = given
    parts = [splat.means, splat.log_scales, splat.quaternions, splat.opacity_logits[:, None], colors, rest]
    return np.ascontiguousarray(np.concatenate(parts, axis=1).T, np.float32)


def unpack(rows: np.ndarray) -> Splat:
    """The splat of rows [R, N], with quaternions of length 1."""
    columns = np.ascontiguousarray(rows.T, np.float32)
    quaternions = columns[:, QUATERNION:OPACITY]
    zero = ((columns[:, COLOR:REST] - np.float32(0.5)) / np.float32(SH_ZERO))[:, None]
    return Splat(
        means=columns[:, MEAN:LOG_SCALE],
        log_scales=columns[:, LOG_SCALE:QUATERNION],
        quaternions=quaternions / np.maximum(np.linalg.norm(quaternions, axis=1, keepdims=True), 1e-12),
        opacity_logits=columns[:, OPACITY],
        sh=np.concatenate([zero, columns[:, REST:].reshape(len(columns), -1, 3)], axis=1),
    )

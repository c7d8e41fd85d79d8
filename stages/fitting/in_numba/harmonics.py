"""Colours that depend on the direction: real spherical harmonics to degree 3, with INRIA's constants and signs.

Row REST + 3 (k - 1) + channel of the parameters is coefficient k; coefficient 0 is kept as RGB, from row COLOR on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stages.common.compiled import compiled
from stages.fitting.parameters import COLOR, MEAN, REST

_1 = 0.4886025119029199
_2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)


@compiled
def basis(x: float, y: float, z: float, degree: int, values: np.ndarray, slopes: np.ndarray) -> None:
    """Fill values [16] with the harmonics of a unit vector, and slopes [16, 3] with their derivatives."""
    values[0], slopes[0] = 0.28209479177387814, 0
    values[1], values[2], values[3] = -_1 * y, _1 * z, -_1 * x
    slopes[1:4] = 0
    slopes[1, 1], slopes[2, 2], slopes[3, 0] = -_1, _1, -_1
    if degree < 2:
        return
    a, b, c = _2
    values[4], values[5], values[6] = a * x * y, -a * y * z, b * (2 * z * z - x * x - y * y)
    values[7], values[8] = -a * x * z, c * (x * x - y * y)
    slopes[4, 0], slopes[4, 1], slopes[4, 2] = a * y, a * x, 0
    slopes[5, 0], slopes[5, 1], slopes[5, 2] = 0, -a * z, -a * y
    slopes[6, 0], slopes[6, 1], slopes[6, 2] = -2 * b * x, -2 * b * y, 4 * b * z
    slopes[7, 0], slopes[7, 1], slopes[7, 2] = -a * z, 0, -a * x
    slopes[8, 0], slopes[8, 1], slopes[8, 2] = 2 * c * x, -2 * c * y, 0
    if degree < 3:
        return
    d, e, f, g, h = _3
    xx, yy, zz = x * x, y * y, z * z
    values[9], values[10], values[11] = -d * y * (3 * xx - yy), e * x * y * z, -f * y * (4 * zz - xx - yy)
    values[12], values[13] = g * z * (2 * zz - 3 * xx - 3 * yy), -f * x * (4 * zz - xx - yy)
    values[14], values[15] = h * z * (xx - yy), -d * x * (xx - 3 * yy)
    slopes[9, 0], slopes[9, 1], slopes[9, 2] = -6 * d * x * y, -3 * d * (xx - yy), 0
    slopes[10, 0], slopes[10, 1], slopes[10, 2] = e * y * z, e * x * z, e * x * y
    slopes[11, 0], slopes[11, 1], slopes[11, 2] = 2 * f * x * y, -f * (4 * zz - xx - 3 * yy), -8 * f * y * z
    slopes[12, 0], slopes[12, 1], slopes[12, 2] = -6 * g * x * z, -6 * g * y * z, 3 * g * (2 * zz - xx - yy)
    slopes[13, 0], slopes[13, 1], slopes[13, 2] = -f * (4 * zz - 3 * xx - yy), 2 * f * x * y, -8 * f * x * z
    slopes[14, 0], slopes[14, 1], slopes[14, 2] = 2 * h * x * z, -2 * h * y * z, h * (xx - yy)
    slopes[15, 0], slopes[15, 1], slopes[15, 2] = -3 * d * (xx - yy), 6 * d * x * y, 0


@compiled
def _towards(parameters: np.ndarray, eye: np.ndarray, i: int) -> tuple[Any, ...]:
    """The unit vector from the eye to Gaussian i, and one over its distance."""
    x, y, z = parameters[MEAN, i] - eye[0], parameters[MEAN + 1, i] - eye[1], parameters[MEAN + 2, i] - eye[2]
    inverse = np.float32(1) / max(np.float32(math.sqrt(x * x + y * y + z * z)), np.float32(1e-12))
    return x * inverse, y * inverse, z * inverse, inverse


@compiled
def shade(
    parameters: np.ndarray, degree: int, eye: np.ndarray, depths: np.ndarray,
    values: np.ndarray, slopes: np.ndarray, colors: np.ndarray,
) -> None:  # fmt: skip
    """Fill colors [3, N] of the visible Gaussians, as seen from eye [3]; none is below 0."""
    for i in range(len(depths)):
        if depths[i] == 0:
            continue
        x, y, z, _ = _towards(parameters, eye, i)
        basis(x, y, z, degree, values, slopes)
        for channel in range(3):
            color = parameters[COLOR + channel, i]
            for k in range(1, (degree + 1) ** 2):
                color += values[k] * parameters[REST + 3 * (k - 1) + channel, i]
            colors[channel, i] = max(color, np.float32(0))


@compiled
def shade_backward(
    parameters: np.ndarray, degree: int, eye: np.ndarray, depths: np.ndarray,
    values: np.ndarray, slopes: np.ndarray, colors: np.ndarray, gradients: np.ndarray,
) -> None:  # fmt: skip
    """Propagate the gradient of the colours, in gradients from row COLOR on, to all coefficients and to the means."""
    for i in range(len(depths)):
        if depths[i] == 0:
            gradients[REST:, i] = 0
            continue
        x, y, z, inverse = _towards(parameters, eye, i)
        basis(x, y, z, degree, values, slopes)
        g_x = g_y = g_z = np.float32(0)
        for channel in range(3):
            if colors[channel, i] <= 0:  # held at 0
                gradients[COLOR + channel, i] = 0
            pull = gradients[COLOR + channel, i]
            for k in range(1, (degree + 1) ** 2):
                row = REST + 3 * (k - 1) + channel
                gradients[row, i] = pull * values[k]
                weight = pull * parameters[row, i]
                g_x += weight * slopes[k, 0]
                g_y += weight * slopes[k, 1]
                g_z += weight * slopes[k, 2]
        along = g_x * x + g_y * y + g_z * z
        gradients[MEAN, i] += (g_x - along * x) * inverse
        gradients[MEAN + 1, i] += (g_y - along * y) * inverse
        gradients[MEAN + 2, i] += (g_z - along * z) * inverse

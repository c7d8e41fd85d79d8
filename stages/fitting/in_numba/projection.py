"""Project Gaussians in space to ellipses in one image, and propagate gradients back; gsplat's conventions.

Parameters are rows [R, N] as parameters.py describes them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stages.common.compiled import compiled
from stages.fitting.conventions import BLUR, NEAR
from stages.fitting.parameters import COLOR, OPACITY, REST

CUT = np.float32(1.0 / 255.0)  # fainter than this is not drawn
MARGIN = np.float32(0.3)  # of the half field of view: how far outside the image the projection is linearised

# Ellipse columns: centre x y, conic a b c, opacity, half height, squared radius where the opacity meets CUT.
CENTER_X, CENTER_Y, CONIC_A, CONIC_B, CONIC_C, ALPHA, HALF_HEIGHT, REACH, ELLIPSE = 0, 1, 2, 3, 4, 5, 6, 7, 8


@compiled
def _axes(parameters: np.ndarray, i: int, view: np.ndarray) -> tuple[Any, ...]:
    """Camera point, rotation camera-from-Gaussian [3, 3] as nine numbers, scales, and the quaternion's inverse norm."""
    x, y, z = parameters[0, i], parameters[1, i], parameters[2, i]
    px = view[0] * x + view[1] * y + view[2] * z + view[9]
    py = view[3] * x + view[4] * y + view[5] * z + view[10]
    pz = view[6] * x + view[7] * y + view[8] * z + view[11]
    w, a, b, c = parameters[6, i], parameters[7, i], parameters[8, i], parameters[9, i]
    inverse = np.float32(1) / max(np.float32(math.sqrt(w * w + a * a + b * b + c * c)), np.float32(1e-12))
    w, a, b, c = w * inverse, a * inverse, b * inverse, c * inverse
    one, two = np.float32(1), np.float32(2)
    rotation = (
        one - two * (b * b + c * c), two * (a * b - w * c), two * (a * c + w * b),
        two * (a * b + w * c), one - two * (a * a + c * c), two * (b * c - w * a),
        two * (a * c - w * b), two * (b * c + w * a), one - two * (a * a + b * b),
    )  # fmt: skip
    scales = (math.exp(parameters[3, i]), math.exp(parameters[4, i]), math.exp(parameters[5, i]))
    return px, py, pz, rotation, scales, (w, a, b, c), inverse


@compiled
def _jacobian(px: float, py: float, pz: float, view: np.ndarray, width: float, height: float) -> tuple[Any, ...]:
    """d(pixel)/d(camera point): xx, xz, yy, yz; and whether x and y were inside the linearised field."""
    fx, fy, cx, cy = view[12], view[13], view[14], view[15]
    inverse = np.float32(1) / pz
    half_x, half_y = np.float32(0.5) * width / fx, np.float32(0.5) * height / fy
    u, v = px * inverse, py * inverse
    clamped_u = min((width - cx) / fx + MARGIN * half_x, max(-cx / fx - MARGIN * half_x, u))
    clamped_v = min((height - cy) / fy + MARGIN * half_y, max(-cy / fy - MARGIN * half_y, v))
    return (
        fx * inverse,
        -fx * clamped_u * inverse,
        fy * inverse,
        -fy * clamped_v * inverse,
        clamped_u == u,
        clamped_v == v,
    )


@compiled
def _image_axes(jacobian: tuple[Any, ...], view: np.ndarray, rotation: tuple[Any, ...]) -> tuple[Any, Any]:
    """J W [2, 3] and J W R [2, 3], six numbers each."""
    xx, xz, yy, yz = jacobian[0], jacobian[1], jacobian[2], jacobian[3]
    t = (
        xx * view[0] + xz * view[6], xx * view[1] + xz * view[7], xx * view[2] + xz * view[8],
        yy * view[3] + yz * view[6], yy * view[4] + yz * view[7], yy * view[5] + yz * view[8],
    )  # fmt: skip
    r = rotation
    u = (
        t[0] * r[0] + t[1] * r[3] + t[2] * r[6], t[0] * r[1] + t[1] * r[4] + t[2] * r[7],
        t[0] * r[2] + t[1] * r[5] + t[2] * r[8], t[3] * r[0] + t[4] * r[3] + t[5] * r[6],
        t[3] * r[1] + t[4] * r[4] + t[5] * r[7], t[3] * r[2] + t[4] * r[5] + t[5] * r[8],
    )  # fmt: skip
    return t, u


@compiled
def _bare(xx: Any, xy: Any, yy: Any) -> Any:
    """The determinant of a covariance without its blur."""
    return (xx - BLUR) * (yy - BLUR) - xy * xy


@compiled
def project(
    parameters: np.ndarray, view: np.ndarray, width: float, height: float, antialiased: bool,
    ellipses: np.ndarray, depths: np.ndarray,
) -> None:  # fmt: skip
    """Fill ellipses [N, 8] and depths [N]; a Gaussian that is not visible in this view has a depth of 0.

    If antialiased, an ellipse is fainter by as much as the blur has widened it.
    """
    one, two = np.float32(1), np.float32(2)
    for i in range(parameters.shape[1]):
        depths[i] = 0
        opacity = one / (one + math.exp(-parameters[10, i]))
        if opacity < CUT:
            continue
        px, py, pz, rotation, s, _, _ = _axes(parameters, i, view)
        if not pz > NEAR:
            continue
        jacobian = _jacobian(px, py, pz, view, width, height)
        _, u = _image_axes(jacobian, view, rotation)
        v0, v1, v2, v3, v4, v5 = u[0] * s[0], u[1] * s[1], u[2] * s[2], u[3] * s[0], u[4] * s[1], u[5] * s[2]
        xx = v0 * v0 + v1 * v1 + v2 * v2 + BLUR
        xy = v0 * v3 + v1 * v4 + v2 * v5
        yy = v3 * v3 + v4 * v4 + v5 * v5 + BLUR
        determinant = xx * yy - xy * xy
        if not determinant > 0:
            continue
        if antialiased:
            opacity *= math.sqrt(max(_bare(xx, xy, yy), np.float32(0)) / determinant)
            if opacity < CUT:
                continue
        reach = two * math.log(opacity / CUT)
        center_x = view[12] * px / pz + view[14]
        center_y = view[13] * py / pz + view[15]
        half_width, half_height = math.sqrt(reach * xx), math.sqrt(reach * yy)
        outside_x = center_x + half_width <= 0 or center_x - half_width >= width
        if outside_x or center_y + half_height <= 0 or center_y - half_height >= height:
            continue
        depths[i] = pz
        inverse = one / determinant
        ellipse = ellipses[i]
        ellipse[CENTER_X], ellipse[CENTER_Y] = center_x, center_y
        ellipse[CONIC_A], ellipse[CONIC_B], ellipse[CONIC_C] = yy * inverse, -xy * inverse, xx * inverse
        ellipse[ALPHA], ellipse[HALF_HEIGHT], ellipse[REACH] = opacity, half_height, reach


@compiled
def project_backward(
    parameters: np.ndarray, view: np.ndarray, width: float, height: float, antialiased: bool,
    ellipses: np.ndarray, depths: np.ndarray, sums: np.ndarray, gradients: np.ndarray,
) -> None:  # fmt: skip
    """Propagate gradients of the ellipses, sums [N, 9] (see blending.py), to the parameters' first 14 rows."""
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    for i in range(parameters.shape[1]):
        if depths[i] == 0:
            for row in range(REST):
                gradients[row, i] = 0
            continue
        for channel in range(3):
            gradients[COLOR + channel, i] = sums[i, channel]
        moment, moment_x, moment_y = sums[i, 3], sums[i, 4], sums[i, 5]
        gradients[OPACITY, i] = moment / (one + math.exp(parameters[OPACITY, i]))
        a, b, c = ellipses[i, CONIC_A], ellipses[i, CONIC_B], ellipses[i, CONIC_C]
        d_x, d_y = a * moment_x + b * moment_y, b * moment_x + c * moment_y
        # conic = inverse of the covariance: dL/dcovariance = -conic (dL/dconic) conic
        ga, gb, gc = -half * sums[i, 6], -half * sums[i, 7], -half * sums[i, 8]
        h0, h1, h2, h3 = a * ga + b * gb, a * gb + b * gc, b * ga + c * gb, b * gb + c * gc
        gxx, gxy, gyy = -(h0 * a + h1 * b), -(h0 * b + h1 * c), -(h2 * b + h3 * c)
        if antialiased:  # half the logarithm of both determinants
            inverse = one / (a * c - b * b)
            xx, xy, yy = c * inverse, -b * inverse, a * inverse
            bare = one / max(_bare(xx, xy, yy), np.float32(1e-12))
            gxx += half * moment * ((yy - BLUR) * bare - a)
            gxy += half * moment * (-xy * bare - b)
            gyy += half * moment * ((xx - BLUR) * bare - c)

        px, py, pz, r, s, unit, inverse_norm = _axes(parameters, i, view)
        jacobian = _jacobian(px, py, pz, view, width, height)
        t, u = _image_axes(jacobian, view, r)
        # covariance = V V^T with V = U diag(s), U = J W R
        s0, s1, s2 = two * s[0] * s[0], two * s[1] * s[1], two * s[2] * s[2]
        f0, f1, f2 = (gxx * u[0] + gxy * u[3]) * s0, (gxx * u[1] + gxy * u[4]) * s1, (gxx * u[2] + gxy * u[5]) * s2
        k0, k1, k2 = (gxy * u[0] + gyy * u[3]) * s0, (gxy * u[1] + gyy * u[4]) * s1, (gxy * u[2] + gyy * u[5]) * s2
        gradients[3, i] = f0 * u[0] + k0 * u[3]
        gradients[4, i] = f1 * u[1] + k1 * u[4]
        gradients[5, i] = f2 * u[2] + k2 * u[5]
        _rotation_backward(t, (f0, f1, f2, k0, k1, k2), unit, inverse_norm, i, gradients)

        # dL/d(J W) = dL/dU R^T, dL/dJ = dL/d(J W) W^T
        m0, m1, m2 = (
            f0 * r[0] + f1 * r[1] + f2 * r[2],
            f0 * r[3] + f1 * r[4] + f2 * r[5],
            f0 * r[6] + f1 * r[7] + f2 * r[8],
        )
        n0, n1, n2 = (
            k0 * r[0] + k1 * r[1] + k2 * r[2],
            k0 * r[3] + k1 * r[4] + k2 * r[5],
            k0 * r[6] + k1 * r[7] + k2 * r[8],
        )
        j_xx, j_xz = m0 * view[0] + m1 * view[1] + m2 * view[2], m0 * view[6] + m1 * view[7] + m2 * view[8]
        j_yy, j_yz = n0 * view[3] + n1 * view[4] + n2 * view[5], n0 * view[6] + n1 * view[7] + n2 * view[8]
        inverse = one / pz
        xx, xz, yy, yz, free_x, free_y = jacobian
        g_x = xx * d_x
        g_y = yy * d_y
        g_z = -(xx * px * d_x + yy * py * d_y) * inverse - (xx * j_xx + yy * j_yy) * inverse
        # xz = -f clamp(x / z) / z: twice 1 / z where x is free, once where the clamp holds it
        g_z -= (xz * j_xz * (two if free_x else one) + yz * j_yz * (two if free_y else one)) * inverse
        if free_x:
            g_x -= xx * inverse * j_xz
        if free_y:
            g_y -= yy * inverse * j_yz
        gradients[0, i] = view[0] * g_x + view[3] * g_y + view[6] * g_z
        gradients[1, i] = view[1] * g_x + view[4] * g_y + view[7] * g_z
        gradients[2, i] = view[2] * g_x + view[5] * g_y + view[8] * g_z


@compiled
def _rotation_backward(
    t: tuple[Any, ...], d_u: tuple[Any, ...], unit: tuple[Any, ...], inverse_norm: Any, i: int, gradients: np.ndarray
) -> None:
    """dL/dR = (J W)^T dL/dU, then through the quaternion and its normalisation."""
    two = np.float32(2)
    w, x, y, z = unit
    f0, f1, f2, k0, k1, k2 = d_u
    g00, g01, g02 = t[0] * f0 + t[3] * k0, t[0] * f1 + t[3] * k1, t[0] * f2 + t[3] * k2
    g10, g11, g12 = t[1] * f0 + t[4] * k0, t[1] * f1 + t[4] * k1, t[1] * f2 + t[4] * k2
    g20, g21, g22 = t[2] * f0 + t[5] * k0, t[2] * f1 + t[5] * k1, t[2] * f2 + t[5] * k2
    g_w = two * (x * (g21 - g12) + y * (g02 - g20) + z * (g10 - g01))
    g_x = two * (y * (g01 + g10) + z * (g02 + g20) + w * (g21 - g12) - two * x * (g11 + g22))
    g_y = two * (x * (g01 + g10) + z * (g12 + g21) + w * (g02 - g20) - two * y * (g00 + g22))
    g_z = two * (x * (g02 + g20) + y * (g12 + g21) + w * (g10 - g01) - two * z * (g00 + g11))
    along = g_w * w + g_x * x + g_y * y + g_z * z
    gradients[6, i] = (g_w - along * w) * inverse_norm
    gradients[7, i] = (g_x - along * x) * inverse_norm
    gradients[8, i] = (g_y - along * y) * inverse_norm
    gradients[9, i] = (g_z - along * z) * inverse_norm

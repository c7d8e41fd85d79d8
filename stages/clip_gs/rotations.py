"""Rotate by quaternions wxyz, and convert these to matrices."""

from __future__ import annotations

import torch


def rotated(points: torch.Tensor, quaternions: torch.Tensor) -> torch.Tensor:
    """Rotate points [B, N, 3] about the origin by quaternions [B, 4]."""
    with torch.autocast(points.device.type, enabled=False):  # bfloat16 would move them by a hundredth
        return points @ matrices(quaternions).mT


def matrices(quaternions: torch.Tensor) -> torch.Tensor:
    """Return the matrices [..., 3, 3] of quaternions [..., 4] of length 1."""
    w, x, y, z = quaternions.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the quaternion [..., 4] that rotates by `right`, then by `left`."""
    a, b, c, d = left.unbind(-1)
    w, x, y, z = right.unbind(-1)
    parts = [
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    ]
    return torch.stack(parts, dim=-1)

"""Rotations as quaternions wxyz and as matrices."""

from __future__ import annotations

import torch


def rotated(points: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """[B, N, 3] points about the origin, by [B, 4] wxyz."""
    with torch.autocast(points.device.type, enabled=False):  # bfloat16 would move them by a hundredth
        return points @ matrices(turns).mT


def matrices(quaternions: torch.Tensor) -> torch.Tensor:
    """[..., 3, 3] of [..., 4] wxyz of length 1."""
    w, x, y, z = quaternions.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """[..., 4] wxyz: the turn of `right`, then that of `left`."""
    a, b, c, d = left.unbind(-1)
    w, x, y, z = right.unbind(-1)
    parts = [
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    ]
    return torch.stack(parts, dim=-1)

"""What the network sees of a Gaussian: 19 numbers, of which the first six are what it sees of a coloured point."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stages.clip_gs.batch import Gaussians

POINT = 6  # position and colour
COUNT = 19  # and opacity 1, scale 3, rotation 9


def attributes(gaussians: Gaussians) -> torch.Tensor:  # [B, N, 19]
    """Opacity and scales through a sigmoid, as the paper has it, rotations as matrices: q and -q are the same."""
    return torch.cat(
        [
            gaussians.means,
            gaussians.colors,
            gaussians.opacity_logits.unsqueeze(-1).sigmoid(),
            gaussians.log_scales.sigmoid(),
            rotations(gaussians.quaternions).flatten(-2),
        ],
        dim=-1,
    )


def rotations(quaternions: torch.Tensor) -> torch.Tensor:  # [..., 3, 3] of [..., 4] wxyz
    w, x, y, z = F.normalize(quaternions, dim=-1).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

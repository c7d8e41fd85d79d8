"""What the network sees of a Gaussian: 19 numbers, of which the first six are what it sees of a coloured point."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stages.clip_gs.batch import Gaussians
from stages.clip_gs.rotations import matrices

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
            matrices(F.normalize(gaussians.quaternions, dim=-1)).flatten(-2),
        ],
        dim=-1,
    )

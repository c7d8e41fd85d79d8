"""Change each object at random each time it is used.

The dataset's frame has y up, whatever the source file's had (`normalization` turns it so), and z towards the front.
"""

from __future__ import annotations

import math

import torch

from stages.clip_gs.batch import Gaussians
from stages.clip_gs.rotations import product, rotated
from stages.clip_gs.settings import Augment

_UP = (0.0, 1.0, 0.0)
_GREY = 0.4  # instead of colours, as in Uni3D


def augmented(gaussians: Gaussians, settings: Augment, rng: torch.Generator) -> Gaussians:
    """Rotate, scale and shift objects, and remove the colours of some; `rng` is on the CPU for every device."""
    count, device = len(gaussians), gaussians.means.device
    low, high = settings.scale
    scales = low + (high - low) * torch.rand(count, generator=rng)  # [B]
    shifts = settings.shift * (2 * torch.rand(count, 3, generator=rng) - 1)  # [B, 3]
    turns = _turns(settings.rotation, count, rng)  # [B, 4]
    grey = torch.rand(count, generator=rng) < settings.color_drop  # [B]
    scales, shifts, grey = (drawn.to(device) for drawn in (scales, shifts, grey))
    means, quaternions = gaussians.means, gaussians.quaternions
    if turns is not None:
        turns = turns.to(device)
        means, quaternions = rotated(means, turns), product(turns[:, None], quaternions)
    return Gaussians(
        means=means * scales[:, None, None] + shifts[:, None],
        log_scales=gaussians.log_scales + scales.log()[:, None, None],
        quaternions=quaternions,
        opacity_logits=gaussians.opacity_logits,
        colors=torch.where(grey[:, None, None], gaussians.colors.new_tensor(_GREY), gaussians.colors),
    )


def _turns(kind: str, count: int, rng: torch.Generator) -> torch.Tensor | None:
    """[B, 4] wxyz: rotations drawn uniformly from those of this kind."""
    if kind == "none":
        return None
    if kind == "all":
        return torch.nn.functional.normalize(torch.randn(count, 4, generator=rng), dim=-1)
    halves = math.pi * torch.rand(count, 1, generator=rng)  # [B, 1] of the angles
    return torch.cat([halves.cos(), halves.sin() * torch.tensor(_UP)], dim=-1)

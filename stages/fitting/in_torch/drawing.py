"""Draw Gaussians with gsplat: parameters [..., N, R] (see parameters.py) with any leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from stages.artifacts.splat import SH_ZERO
from stages.fitting.conventions import BLUR, NEAR
from stages.fitting.parameters import COLOR, LOG_SCALE, MEAN, OPACITY, QUATERNION, REST, degree_of

_PARTS = (LOG_SCALE - MEAN, QUATERNION - LOG_SCALE, OPACITY - QUATERNION, COLOR - OPACITY, REST - COLOR)


class Rasterizer:
    """Calls `rasterization`, which is gsplat's, or another function with its arguments."""

    def __init__(self, rasterization: Callable[..., Any]):
        self.rasterization = rasterization

    def draw(
        self, parameters: torch.Tensor, world_to_camera: torch.Tensor, intrinsics: torch.Tensor,
        size: tuple[int, int], antialiased: bool,
    ) -> torch.Tensor:  # fmt: skip
        """[..., C, H, W, 4]: premultiplied colour and alpha; cameras [..., C, 4, 4] and [..., C, 3, 3]; size H, W."""
        height, width = size
        columns = parameters.shape[-1]
        means, log_scales, quaternions, logits, color, rest = parameters.split([*_PARTS, columns - REST], dim=-1)
        degree = degree_of(columns)
        if degree:
            zero = ((color - 0.5) / SH_ZERO)[..., None, :]
            color = torch.cat([zero, rest.unflatten(-1, (-1, 3))], dim=-2)  # [..., N, K, 3]
        # packed=False: its packed path takes the wrong opacities for a batch
        colors, alphas, _ = self.rasterization(
            means, quaternions, log_scales.exp(), logits[..., 0].sigmoid(), color, world_to_camera, intrinsics,
            width, height, near_plane=float(NEAR), eps2d=float(BLUR), sh_degree=degree or None, packed=False,
            rasterize_mode="antialiased" if antialiased else "classic",
        )  # fmt: skip
        return torch.cat([colors, alphas], dim=-1)

"""The training loss of a batch of images, in torch; blending.py and ssim_gradient.py have the same in numba."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stages.fitting.ssim import C1, C2, WINDOW, window_weights


def absolute(image: torch.Tensor, wanted: torch.Tensor, background: torch.Tensor, parabola: float) -> torch.Tensor:
    """[B] of [B, H, W, 4] premultiplied, on backgrounds [B, 3]: sums of absolute errors, squared below the parabola."""
    ground = background[:, None, None]
    seen = image[..., :3] + (1 - image[..., 3:]) * ground
    true = wanted[..., :3] + (1 - wanted[..., 3:]) * ground
    return F.huber_loss(seen, true, reduction="none", delta=parabola).sum((1, 2, 3)) / parabola


def dissimilarity(image: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """[B]: minus the sum of SSIM over all positions where the window fits, on white; 0 if it fits nowhere."""
    if min(image.shape[1:3]) < WINDOW:
        return image.sum((1, 2, 3)) * 0
    both = torch.cat([(each[..., :3] + 1 - each[..., 3:]).permute(0, 3, 1, 2) for each in (image, wanted)])
    a, b = both.flatten(0, 1)[:, None].chunk(2)  # [3 B, 1, H, W] each
    weights = torch.from_numpy(window_weights()).to(image)
    blurred = F.conv2d(F.conv2d(torch.cat([a, b, a * a, b * b, a * b], 1), *_window(weights, 2)), *_window(weights, 3))
    mean_a, mean_b, square_a, square_b, product = blurred.unbind(1)
    c1, c2 = float(C1), float(C2)
    over = (2 * mean_a * mean_b + c1) * (2 * (product - mean_a * mean_b) + c2)
    under = (mean_a**2 + mean_b**2 + c1) * (square_a - mean_a**2 + square_b - mean_b**2 + c2)
    return -(over / under).unflatten(0, (len(image), 3)).sum((1, 2, 3))


def _window(weights: torch.Tensor, axis: int) -> tuple[torch.Tensor, None, int, int, int, int]:
    """Arguments of conv2d for five maps, each on its own, along rows or columns."""
    shape = [5, 1, 1, 1]
    shape[axis] = WINDOW
    kernel = weights.view([1 if side != axis else WINDOW for side in range(4)]).expand(shape)
    return kernel, None, 1, 0, 1, 5

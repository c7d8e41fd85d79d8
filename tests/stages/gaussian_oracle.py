"""The mathematics of Gaussian splats, plain and slow, in float64 torch: what every engine is held against.

Conventions are gsplat's: OpenCV cameras, pixel centres at +0.5, 0.3 square pixels of blur, alpha cut below 1/255 and
held at 0.999, a pixel full once it would let through 1e-4 or less. Gradients come from torch itself.
"""

from __future__ import annotations

import torch

BLUR, NEAR, CUT, OPAQUE, FULL, MARGIN = 0.3, 0.01, 1 / 255, 0.999, 1e-4, 0.3
TIE = 1e-5  # relative


def rotations(quaternions: torch.Tensor) -> torch.Tensor:
    """[N, 4] wxyz of any length to [N, 3, 3]."""
    w, x, y, z = torch.unbind(quaternions / quaternions.norm(dim=1, keepdim=True), 1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1),
    ]
    return torch.stack(rows, 1)


def project(
    means: torch.Tensor, log_scales: torch.Tensor, quaternions: torch.Tensor,
    world_to_camera: torch.Tensor, intrinsics: torch.Tensor, width: int, height: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Centres [N, 2] in pixels, covariances [N, 2, 2], depths [N]."""
    turn, shift = world_to_camera[:3, :3], world_to_camera[:3, 3]
    points = means @ turn.T + shift
    x, y, z = points.unbind(1)
    depth = torch.where(z > NEAR, z, torch.ones_like(z))  # what is nearer is not drawn; 1 keeps its gradient finite
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    over_x, over_y = MARGIN * 0.5 * width / fx, MARGIN * 0.5 * height / fy
    u = torch.clamp(x / depth, -cx / fx - over_x, (width - cx) / fx + over_x)
    v = torch.clamp(y / depth, -cy / fy - over_y, (height - cy) / fy + over_y)
    zero = torch.zeros_like(depth)
    jacobian = torch.stack(
        [torch.stack([fx / depth, zero, -fx * u / depth], 1), torch.stack([zero, fy / depth, -fy * v / depth], 1)], 1
    )
    axes = rotations(quaternions) * torch.exp(log_scales)[:, None, :]
    flat = jacobian @ turn @ axes
    covariances = flat @ flat.transpose(1, 2) + BLUR * torch.eye(2, dtype=means.dtype)
    centers = torch.stack([fx * x / depth + cx, fy * y / depth + cy], 1)
    return centers, covariances, z


def draw(
    parameters: dict[str, torch.Tensor],
    world_to_camera: torch.Tensor,
    intrinsics: torch.Tensor,
    width: int,
    height: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """[H, W, 4]: premultiplied colour and alpha. Parameters: means, log_scales, quaternions, opacity_logits, colors.

    And [H, W] bool: the pixels where a threshold was passed or missed by so little that float32 may decide otherwise.
    """
    centers, covariances, depths = project(
        parameters["means"], parameters["log_scales"], parameters["quaternions"],
        world_to_camera, intrinsics, width, height,
    )  # fmt: skip
    opacities = torch.sigmoid(parameters["opacity_logits"])
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], 2).to(centers.dtype)
    color = torch.zeros(height, width, 3, dtype=centers.dtype)
    light = torch.ones(height, width, dtype=centers.dtype)
    full = torch.zeros(height, width, dtype=torch.bool)
    narrow = torch.zeros(height, width, dtype=torch.bool)
    for i in torch.argsort(depths, stable=True).tolist():
        if depths[i] <= NEAR:
            continue
        away = pixels - centers[i]
        distance = 0.5 * torch.einsum("hwi,ij,hwj->hw", away, torch.linalg.inv(covariances[i]), away)
        alpha = torch.clamp(opacities[i] * torch.exp(-distance), max=OPAQUE)
        narrow = narrow | (abs(alpha / CUT - 1) < TIE) | (abs(light * (1 - alpha) / FULL - 1) < 10 * TIE)
        alpha = torch.where(alpha < CUT, torch.zeros_like(alpha), alpha)
        full = full | (light * (1 - alpha) <= FULL)
        alpha = torch.where(full, torch.zeros_like(alpha), alpha)
        color = color + (light * alpha)[..., None] * parameters["colors"][i]
        light = light * (1 - alpha)
    return torch.cat([color, 1 - light[..., None]], 2), narrow

"""A plain and slow implementation of Gaussian splatting in float64 torch, with which every engine is compared.

Conventions are gsplat's: OpenCV cameras, pixel centres at +0.5, 0.3 square pixels of blur, alpha cut below 1/255 and
at most 0.999, a pixel full once it would let through 1e-4 or less. Gradients come from torch itself.
"""

from __future__ import annotations

import math

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


def fading(covariances: torch.Tensor) -> torch.Tensor:
    """[N]: by how much the blur has widened covariances [N, 2, 2]."""
    bare = covariances - BLUR * torch.eye(2, dtype=covariances.dtype)
    ratio = torch.linalg.det(bare) / torch.linalg.det(covariances)
    return torch.sqrt(torch.clamp(ratio, min=1e-30))


def shade(colors: torch.Tensor, harmonics: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """[N, 3]: colours and the harmonics [N, K - 1, 3] above the constant one, seen along directions [N, 3].

    The harmonics are the textbook's: sqrt((2l + 1) / 4 pi (l - m)! / (l + m)!) P_lm, with Legendre's P_lm, times
    sqrt(2) and the cosine or sine of m phi, with m from -l to l.
    """
    x, y, z = (directions / directions.norm(dim=1, keepdim=True)).unbind(1)
    values = []
    for degree in range(1, math.isqrt(harmonics.shape[1] + 1)):
        for order in range(-degree, degree + 1):
            m = abs(order)
            norm = math.sqrt((2 * degree + 1) / (4 * math.pi) * math.factorial(degree - m) / math.factorial(degree + m))
            turned = (torch.complex(x, y)) ** m  # sin(theta)^m (cos(m phi) + i sin(m phi))
            part = 1.0 if m == 0 else math.sqrt(2) * (turned.real if order > 0 else turned.imag)
            values.append(norm * _legendre(degree, m, z) * part)
    return torch.clamp(colors + torch.einsum("kn,nkc->nc", torch.stack(values), harmonics), min=0)


def _legendre(degree: int, m: int, z: torch.Tensor) -> torch.Tensor:
    """P_lm(z) over sin(theta)^m, with the sign (-1)^m."""
    before, value = torch.zeros_like(z), torch.full_like(z, (-1) ** m * math.prod(range(1, 2 * m, 2)))
    for level in range(m + 1, degree + 1):
        before, value = value, ((2 * level - 1) * z * value - (level + m - 1) * before) / (level - m)
    return value


def draw(
    parameters: dict[str, torch.Tensor],
    world_to_camera: torch.Tensor,
    intrinsics: torch.Tensor,
    width: int,
    height: int,
    antialiased: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """[H, W, 4]: premultiplied colour and alpha. Parameters: means, log_scales, quaternions, opacity_logits, colors.

    With harmonics [N, K - 1, 3], colors is their constant part, as RGB. Also returns [H, W] bool: the pixels that are
    so close to a threshold that float32 may be on its other side.
    """
    centers, covariances, depths = project(
        parameters["means"], parameters["log_scales"], parameters["quaternions"],
        world_to_camera, intrinsics, width, height,
    )  # fmt: skip
    opacities = torch.sigmoid(parameters["opacity_logits"])
    if antialiased:
        opacities = opacities * fading(covariances)
    colors = parameters["colors"]
    if "harmonics" in parameters:
        eye = -world_to_camera[:3, :3].T @ world_to_camera[:3, 3]
        colors = shade(colors, parameters["harmonics"], parameters["means"] - eye)
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
        color = color + (light * alpha)[..., None] * colors[i]
        light = light * (1 - alpha)
    return torch.cat([color, 1 - light[..., None]], 2), narrow


def rasterization(
    means: torch.Tensor, quats: torch.Tensor, scales: torch.Tensor, opacities: torch.Tensor, colors: torch.Tensor,
    viewmats: torch.Tensor, Ks: torch.Tensor, width: int, height: int, *, near_plane: float = NEAR,
    eps2d: float = BLUR, sh_degree: int | None = None, packed: bool = False, rasterize_mode: str = "classic",
) -> tuple[torch.Tensor, torch.Tensor, dict]:  # fmt: skip
    """gsplat's function of this name, with its arguments and conventions, in plain torch, on any device.

    It computes all pixels of all Gaussians at once, so only small scenes fit into memory.
    """
    assert abs(near_plane - NEAR) < 1e-6 and abs(eps2d - BLUR) < 1e-6 and not packed
    batch, count, views = means.shape[:-2], means.shape[-2], viewmats.shape[-3]
    images = []
    flat = [part.reshape(-1, *part.shape[len(batch) :]) for part in (means, quats, scales, opacities, colors)]
    for index, (mean, quat, scale, opacity, color) in enumerate(zip(*flat, strict=True)):
        poses, lenses = viewmats.reshape(-1, views, 4, 4)[index], Ks.reshape(-1, views, 3, 3)[index]
        for pose, lens in zip(poses, lenses, strict=True):
            shown = color
            if sh_degree is not None:
                eye = -pose[:3, :3].T @ pose[:3, 3]
                shown = shade(color[:, 0] * 0.28209479177387814 + 0.5, color[:, 1:], mean - eye)
            sight = project(mean, scale.log(), quat, pose, lens, width, height)
            images.append(_blend(*sight, opacity, shown, width, height, rasterize_mode == "antialiased"))
    image = torch.stack(images).reshape(*batch, views, height, width, 4) if count else None
    assert image is not None
    return image[..., :3], image[..., 3:], {}


def _blend(
    centers: torch.Tensor, covariances: torch.Tensor, depths: torch.Tensor, opacities: torch.Tensor,
    colors: torch.Tensor, width: int, height: int, antialiased: bool,
) -> torch.Tensor:  # fmt: skip
    """[H, W, 4]"""
    if antialiased:
        opacities = opacities * fading(covariances)
    order = torch.argsort(depths, stable=True)
    order = order[depths[order] > NEAR]
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    away = torch.stack([columns, rows], 2).to(centers) - centers[order][:, None, None]  # [N, H, W, 2]
    distance = 0.5 * torch.einsum("nhwi,nij,nhwj->nhw", away, torch.linalg.inv(covariances[order]), away)
    alpha = torch.clamp(opacities[order][:, None, None] * torch.exp(-distance), max=OPAQUE)
    alpha = torch.where(alpha < CUT, torch.zeros_like(alpha), alpha)
    after = torch.cumprod(1 - alpha.detach(), dim=0)
    alpha = torch.where((after <= FULL).cummax(0).values, torch.zeros_like(alpha), alpha)
    left = torch.cumprod(1 - alpha, dim=0)  # light behind each
    before = torch.cat([torch.ones_like(left[:1]), left[:-1]])
    color = torch.einsum("nhw,nc->hwc", before * alpha, colors[order])
    light = left[-1] if len(left) else torch.ones_like(rows).to(centers)
    return torch.cat([color, 1 - light[..., None]], 2)

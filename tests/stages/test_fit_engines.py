"""Compare every engine with the oracle: the image that it draws, and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from stages.fitting.in_numba import blending
from stages.fitting.in_numba.canvas import Canvas, camera_row
from stages.fitting.in_torch.drawing import Rasterizer
from stages.fitting.parameters import count_rows
from tests.stages import gaussian_oracle
from tests.stages.gsplat_on_cpu import substitute

NAMES = {"means": slice(0, 3), "log_scales": slice(3, 6), "quaternions": slice(6, 10), "opacity_logits": slice(10, 11),
         "colors": slice(11, 14), "harmonics": slice(14, None)}  # fmt: skip


def scene(name: str, seed: int = 0) -> tuple[np.ndarray, int, int]:
    """Rows [R, N], height, width: random Gaussians in the unit ball and what the name asks for."""
    random = np.random.default_rng(seed)
    count, height, width = {"none": (0, 8, 8), "one": (1, 16, 16), "odd": (60, 37, 53), "pixel": (5, 1, 1)}.get(
        name, (60, 32, 32)
    )
    degree = int(name[-1]) if name.startswith("harmonics") else 0
    rows = np.zeros((count_rows(degree), count))
    rows[:3] = random.normal(size=(3, count)) * 0.4
    rows[3:6] = np.log(random.uniform(0.02, 0.2, size=(3, count)))
    rows[6:10] = random.normal(size=(4, count)) * random.uniform(0.3, 3, size=count)
    rows[10] = random.uniform(-2, 2, size=count)
    rows[11:14] = random.uniform(0.1, 0.9, size=(3, count))
    rows[14:] = random.normal(size=(len(rows) - 14, count)) * 0.3
    if name == "behind":
        rows[2, ::2] -= 6
    if name == "off_screen":
        rows[0, ::2] += 2.5
        rows[1, ::3] -= 2.2
    if name == "saturated":
        rows[10, ::2] = 12
    if name == "faint":
        rows[10, ::2] = -6
    if name == "large":
        rows[3:6] += 2
    if name == "tiny":
        rows[3:6] -= 5
    if name == "antialiased_thin":
        rows[3:6] -= 2
        rows[10] += 3
    if name == "needles":
        rows[3] += 1
        rows[4:6] -= 4
    if name == "deep":  # many opaque layers, so that pixels become full
        rows[10] = 4
        rows[3:6] += 0.7
    return rows.astype(np.float32), height, width


SCENES = (
    "plain", "none", "one", "odd", "pixel", "behind", "off_screen", "saturated", "faint", "large", "tiny",
    "needles", "deep", "harmonics1", "harmonics2", "harmonics3", "antialiased", "antialiased_thin",
)  # fmt: skip


def camera(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics, world-to-camera: three radii away and turned, off-centre, its pixels not quite square."""
    turn = gaussian_oracle.rotations(torch.tensor([[0.9, 0.2, -0.3, 0.1]], dtype=torch.float64))[0].numpy()
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, (0.05, -0.1, 3)
    size = max(height, width)
    return np.array([[1.3 * size, 0, width * 0.48], [0, 1.25 * size, height * 0.53], [0, 0, 1]]), pose


Sight = tuple[np.ndarray, np.ndarray]


def oracle(
    rows: np.ndarray, height: int, width: int, weights: np.ndarray, antialiased: bool
) -> tuple[Sight, np.ndarray]:
    """The image [H, W, 4], the gradients [R, N] of its sum weighted by [H, W, 4], and the weights it took.

    Pixels on the edge of a threshold have weight 0.
    """
    leaf = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    parameters = {name: leaf[part].T for name, part in NAMES.items()}
    parameters["opacity_logits"] = parameters["opacity_logits"][:, 0]
    harmonics = parameters.pop("harmonics")
    if harmonics.shape[1]:
        parameters["harmonics"] = harmonics.unflatten(1, (-1, 3))
    intrinsics, pose = (torch.tensor(part.astype(np.float32), dtype=torch.float64) for part in camera(height, width))
    image, narrow = gaussian_oracle.draw(parameters, pose, intrinsics, width, height, antialiased)
    weights = weights * ~narrow.numpy()[..., None]
    if image.requires_grad:
        (image * torch.tensor(weights)).sum().backward()
    gradients = np.zeros_like(rows) if leaf.grad is None else leaf.grad.numpy()
    return (image.detach().numpy(), gradients), weights


def cpu(rows: np.ndarray, height: int, width: int, weights: np.ndarray, antialiased: bool) -> Sight:
    canvas = Canvas(len(rows), rows.shape[1], height, width, antialiased)
    view = camera_row(*(part.astype(np.float32) for part in camera(height, width)))
    canvas.draw(rows, view)
    image = canvas.pixels()
    blocks = blending.to_blocks(weights.astype(np.float32))  # [B, 4, 16]
    drawn = canvas.image.reshape(-1, 5, blending.LANES)
    slope = canvas.slope.reshape(-1, 5, blending.LANES)
    slope[:, :3], slope[:, 3] = blocks[:, :3], 1
    slope[:, 4] = (drawn[:, :3] * blocks[:, :3]).sum(1) - drawn[:, 4] * blocks[:, 3]
    canvas.draw_backward(rows, view)
    return image, canvas.gradients.copy()


def batched(rasterization: Callable[..., Any], device: str) -> Callable[..., Sight]:
    """The drawing of the engine gsplat: the scene is the second of three in one launch."""

    def draw(rows: np.ndarray, height: int, width: int, weights: np.ndarray, antialiased: bool) -> Sight:
        leaf = torch.tensor(rows.T[None].repeat(3, 0), device=device, requires_grad=True)
        lens, pose = (torch.tensor(part, dtype=torch.float32, device=device) for part in camera(height, width))
        image = Rasterizer(rasterization).draw(
            leaf, pose.expand(3, 1, 4, 4), lens.expand(3, 1, 3, 3), (height, width), antialiased
        )[1, 0]
        (image * torch.tensor(weights, dtype=torch.float32, device=device)).sum().backward()
        return image.detach().cpu().numpy(), leaf.grad[1].T.cpu().numpy()

    return draw


def gsplat(*given: Any) -> Sight:
    from stages.fitting.kernels import rasterization

    return batched(rasterization(), "cuda")(*given)


def gsplat_on_cpu(*given: Any) -> Sight:
    return batched(substitute.rasterization(), "cpu")(*given)


ENGINES = {
    "cpu": cpu,
    "torch": batched(gaussian_oracle.rasterization, "cpu"),
    "gsplat": gsplat,
    "gsplat_on_cpu": gsplat_on_cpu,
}
MARKS = {"gsplat": pytest.mark.gpu, "gsplat_on_cpu": substitute.MARKS}
EVERY_ENGINE = pytest.mark.parametrize("engine", [pytest.param(name, marks=MARKS.get(name, ())) for name in ENGINES])


def lost_light(image: np.ndarray, weights: np.ndarray) -> float:
    """The relative error of gsplat's backward pass: it keeps 1 - light in float32, and divides by the light.

    So the rounding of a number near 1 is divided by the light that the fullest pixel lets through, at least 1e-4.
    """
    light = 1 - image[..., 3][weights.any(-1)]
    return 2.0**-25 / max(light.min(initial=1), 1e-4)


@EVERY_ENGINE
@pytest.mark.parametrize("name", SCENES)
def test_draws_and_differentiates_as_the_oracle(engine: str, name: str) -> None:
    rows, height, width = scene(name)
    if engine != "cpu" and rows.shape[1] == 0:
        pytest.skip("a batch pads an empty object with Gaussians that are not visible")
    antialiased = name.startswith("antialiased")
    weights = np.random.default_rng(1).normal(size=(height, width, 4))
    (true_image, true_gradients), weights = oracle(rows, height, width, weights, antialiased)
    image, gradients = ENGINES[engine](rows, height, width, weights, antialiased)
    assert image.shape == (height, width, 4)
    np.testing.assert_allclose(image * (weights != 0), true_image * (weights != 0), atol=2e-5)
    bound = 2e-4 + (lost_light(true_image, weights) if engine.startswith("gsplat") else 0)
    for part, rows_of_part in NAMES.items():
        true = true_gradients[rows_of_part]
        scale = abs(true).max(initial=1e-6)
        np.testing.assert_allclose(gradients[rows_of_part], true, atol=bound * scale, err_msg=part)
    if name not in ("none", "pixel"):
        assert abs(true_gradients).max() > 0


@EVERY_ENGINE
def test_a_crowd_that_outgrows_the_first_buffers_is_drawn_whole(engine: str) -> None:
    rows, height, width = scene("large")
    rows[10] = -4  # so faint that no pixel is ever full
    weights = np.ones((height, width, 4))
    (true_image, _), weights = oracle(rows, height, width, weights, False)
    image, _ = ENGINES[engine](rows, height, width, weights, False)
    np.testing.assert_allclose(image * weights, true_image * weights, atol=1e-4)

"""Every engine against the oracle: what it draws, and every gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.fitting import raster
from stages.fitting.cpu import Canvas, camera_row
from tests.stages import gaussian_oracle

NAMES = {"means": slice(0, 3), "log_scales": slice(3, 6), "quaternions": slice(6, 10), "opacity_logits": slice(10, 11),
         "colors": slice(11, 14)}  # fmt: skip


def scene(name: str, seed: int = 0) -> tuple[np.ndarray, int, int]:
    """Rows [14, N], height, width: random Gaussians in the unit ball and what the name asks for."""
    random = np.random.default_rng(seed)
    count, height, width = {"none": (0, 8, 8), "one": (1, 16, 16), "odd": (60, 37, 53), "pixel": (5, 1, 1)}.get(
        name, (60, 32, 32)
    )
    rows = np.zeros((14, count))
    rows[:3] = random.normal(size=(3, count)) * 0.4
    rows[3:6] = np.log(random.uniform(0.02, 0.2, size=(3, count)))
    rows[6:10] = random.normal(size=(4, count)) * random.uniform(0.3, 3, size=count)
    rows[10] = random.uniform(-2, 2, size=count)
    rows[11:] = random.uniform(0.1, 0.9, size=(3, count))
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
    if name == "needles":
        rows[3] += 1
        rows[4:6] -= 4
    if name == "deep":  # many opaque layers, so that pixels become full
        rows[10] = 4
        rows[3:6] += 0.7
    return rows.astype(np.float32), height, width


SCENES = (
    "plain", "none", "one", "odd", "pixel", "behind", "off_screen", "saturated", "faint", "large", "tiny",
    "needles", "deep",
)  # fmt: skip


def camera(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics, world-to-camera: three radii away and turned, off-centre, its pixels not quite square."""
    turn = gaussian_oracle.rotations(torch.tensor([[0.9, 0.2, -0.3, 0.1]], dtype=torch.float64))[0].numpy()
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, (0.05, -0.1, 3)
    size = max(height, width)
    return np.array([[1.3 * size, 0, width * 0.48], [0, 1.25 * size, height * 0.53], [0, 0, 1]]), pose


def oracle(rows: np.ndarray, height: int, width: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image [H, W, 4], the gradients [14, N] of its sum weighted by [H, W, 4], and the weights it took.

    Pixels on the edge of a threshold have weight 0.
    """
    parameters = {
        name: torch.tensor(rows[part].T.copy(), dtype=torch.float64, requires_grad=True) for name, part in NAMES.items()
    }
    intrinsics, pose = (torch.tensor(part.astype(np.float32), dtype=torch.float64) for part in camera(height, width))
    shaped = {**parameters, "opacity_logits": parameters["opacity_logits"][:, 0]}
    image, narrow = gaussian_oracle.draw(shaped, pose, intrinsics, width, height)
    weights = weights * ~narrow.numpy()[..., None]
    if image.requires_grad:
        (image * torch.tensor(weights)).sum().backward()
    gradients = [
        np.zeros_like(rows[part]) if parameters[name].grad is None else parameters[name].grad.numpy().T
        for name, part in NAMES.items()
    ]
    return image.detach().numpy(), np.concatenate(gradients), weights


def cpu(rows: np.ndarray, height: int, width: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    canvas = Canvas(rows.shape[1], height, width)
    view = camera_row(*(part.astype(np.float32) for part in camera(height, width)))
    canvas.draw(rows, view)
    image = canvas.pixels()
    blocks = raster.to_blocks(weights.astype(np.float32))  # [B, 4, 16]
    drawn = canvas.image.reshape(-1, 5, raster.LANES)
    slope = canvas.slope.reshape(-1, 5, raster.LANES)
    slope[:, :3], slope[:, 3] = blocks[:, :3], 1
    slope[:, 4] = (drawn[:, :3] * blocks[:, :3]).sum(1) - drawn[:, 4] * blocks[:, 3]
    canvas.draw_backward(rows, view)
    return image, canvas.gradients.copy()


ENGINES = {"cpu": cpu}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SCENES)
def test_draws_and_differentiates_as_the_oracle(engine: str, name: str) -> None:
    rows, height, width = scene(name)
    weights = np.random.default_rng(1).normal(size=(height, width, 4))
    true_image, true_gradients, weights = oracle(rows, height, width, weights)
    image, gradients = ENGINES[engine](rows, height, width, weights)
    assert image.shape == (height, width, 4)
    np.testing.assert_allclose(image * (weights != 0), true_image * (weights != 0), atol=2e-5)
    for part, rows_of in NAMES.items():
        true = true_gradients[rows_of]
        scale = abs(true).max(initial=1e-6)
        np.testing.assert_allclose(gradients[rows_of], true, atol=2e-4 * scale, err_msg=part)
    if name not in ("none", "pixel"):
        assert abs(true_gradients).max() > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crowd_that_outgrows_the_first_buffers_is_drawn_whole(engine: str) -> None:
    rows, height, width = scene("large")
    rows[10] = -4  # so faint that no pixel is ever full
    weights = np.ones((height, width, 4))
    true_image, _, weights = oracle(rows, height, width, weights)
    image, _ = ENGINES[engine](rows, height, width, weights)
    np.testing.assert_allclose(image * weights, true_image * weights, atol=1e-4)

"""Parts of the method that both engines share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from stages.artifacts.splat import Splat
from stages.common.prefetch import in_background, prefetch
from stages.fitting.in_numba.blending import from_blocks, to_blocks
from stages.fitting.in_numba.ssim_gradient import SsimGradient, box_of
from stages.fitting.in_torch import losses
from stages.fitting.points import neighbour_distances, voxels_of
from stages.fitting.sampling import farthest_first
from stages.fitting.ssim import WINDOW, mean_ssim, window_weights
from stages.fitting.step_schedule import StepSchedule, count_round_steps, drawing_order


def images(height: int = 24, width: int = 31) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    drawn, wanted = random.random((2, height, width)).astype(np.float32)
    return drawn, (wanted + drawn) / 2


def torch_similarity(drawn: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Minus the sum, by losses.py: the same plane three times, opaque."""
    opaque = torch.ones_like(drawn)
    both = [torch.stack([plane] * 3 + [opaque], dim=-1)[None] for plane in (drawn, wanted)]
    return losses.dissimilarity(*both)[0] / 3


def slope_of(drawn: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What the CPU engine adds for two planes, each of them as red, green and blue of an opaque image."""
    colors = np.repeat(wanted[..., None], 4, axis=2)
    colors[..., 3] = 1
    target = to_blocks(colors)
    outside = to_blocks(np.ones((*drawn.shape, 1), np.float32))[:, 0] == 0
    target[outside.nonzero()[0], 3, outside.nonzero()[1]] = -1
    canvas = to_blocks(np.repeat(drawn[..., None], 5, axis=2))
    canvas[:, 3:] = 0
    slope = np.zeros_like(canvas)
    box = box_of(np.ones_like(drawn))
    SsimGradient(*drawn.shape).add_to(slope.reshape(-1), canvas.reshape(-1), target.reshape(-1), box, 1.0)
    assert not slope[:, :3][np.repeat(outside[:, None], 3, axis=1)].any()
    return from_blocks(slope, *drawn.shape)[..., 1]


def test_similarity_and_its_slope_are_torch_s() -> None:
    drawn, wanted = images()
    leaf = torch.tensor(drawn, dtype=torch.float64, requires_grad=True)
    total = torch_similarity(leaf, torch.tensor(wanted, dtype=torch.float64))
    total.backward()
    places = (drawn.shape[0] - WINDOW + 1) * (drawn.shape[1] - WINDOW + 1)
    assert mean_ssim(drawn, wanted, window_weights()) == pytest.approx(-total.item() / places, abs=1e-5)
    np.testing.assert_allclose(slope_of(drawn, wanted), leaf.grad.numpy(), atol=2e-5)
    assert mean_ssim(drawn, drawn, window_weights()) == pytest.approx(1, abs=1e-5)


def test_a_box_holds_what_is_covered_with_room_for_the_window() -> None:
    alphas = np.zeros((40, 30))
    alphas[20, 3:12] = 255
    assert box_of(alphas).tolist() == [12, 28, 0, 20]
    assert box_of(0 * alphas).tolist() == [0, 0, 0, 0]


def test_every_round_draws_every_view_equally_often() -> None:
    for views in (1, 3, 21, 31, 64):
        order = drawing_order(views, 4 * count_round_steps(views), np.random.default_rng(0))
        counts = [np.bincount(part, minlength=views) for part in order.reshape(4, -1)]
        assert (np.array(counts) == count_round_steps(views) // views).all()
    assert drawing_order(5, 0, np.random.default_rng(0)).tolist() == []


def test_a_fit_finishes_when_its_loss_has_settled_and_never_later_than_allowed() -> None:
    schedule = StepSchedule(steps=400)
    assert (schedule.finish_from, schedule.end) == (300, 400)
    for step, loss in ((20, 100.0), (40, 50.0), (60, 40.0), (80, 39.0)):
        schedule.end_round(step, loss)
    assert schedule.end == 400
    schedule.end_round(100, 38.5)
    schedule.end_round(120, 38.4)
    assert (schedule.finish_from, schedule.end) == (120, 160)
    schedule.end_round(140, 38.4)  # already finishing
    assert schedule.end == 160
    assert [round(schedule.rate(step), 3) for step in (0, 119, 159)] == [1, 1, 0.1]
    stubborn = StepSchedule(steps=400, early_stop=False)
    for step in range(20, 300, 20):
        stubborn.end_round(step, 1.0)
    assert stubborn.end == 400


@pytest.mark.parametrize("count", [1, 2, 3, 50, 400])
def test_farthest_first_takes_each_once_and_the_farthest_next(count: int) -> None:
    points = np.random.default_rng(2).normal(size=(count, 3)).astype(np.float32)
    points[count // 2 :: 3] = points[0]  # some lie upon each other
    order = farthest_first(points, count)
    assert sorted(order) == list(range(count))
    for taken in range(1, min(count, 40)):
        nearest = np.linalg.norm(points[:, None] - points[None, order[:taken]], axis=2).min(1)
        assert nearest[order[taken]] == pytest.approx(nearest.max(), abs=1e-5)
    assert farthest_first(points, min(3, count)).tolist() == order[:3].tolist()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 700])
def test_distances_to_the_three_nearest(count: int) -> None:
    points = np.random.default_rng(3).normal(size=(count, 3)).astype(np.float32)
    points[: count // 3] *= np.float32(1e-4)  # dense, and some far from all others
    points[-2:] *= 1000
    apart = np.linalg.norm(points[:, None].astype(float) - points[None], axis=2)
    nearest = np.sort(apart, axis=1)[:, 1:4]
    expected = np.sqrt((nearest**2).mean(1)) if count > 3 else np.full(count, np.inf)
    np.testing.assert_allclose(neighbour_distances(points), expected, rtol=1e-3)
    assert (neighbour_distances(0 * points) == (0 if count > 3 else np.inf)).all()


def test_points_of_one_voxel_have_one_number() -> None:
    points = np.random.default_rng(4).random((20_000, 3)).astype(np.float32)
    numbers, _ = voxels_of(points, np.zeros(3, np.float32), 0.04)
    cells = np.floor(points.astype(np.float64) / 0.04) @ [10_000, 100, 1]
    _, first, same = np.unique(cells, return_index=True, return_inverse=True)
    assert numbers.max() + 1 == len(first)
    np.testing.assert_array_equal(numbers, numbers[first][same])


def test_the_first_of_a_splat_cover_what_all_did() -> None:
    splat = Splat(*(np.zeros((8, *shape), np.float32) for shape in ((3,), (3,), (4,), (), (1, 3))))
    quarter = splat.first(0.25)
    assert len(quarter) == 2
    np.testing.assert_allclose(np.exp(quarter.log_scales), 2)  # twice as wide: four times the area
    assert len(splat.first(1.0)) == 8
    np.testing.assert_array_equal(splat.first(1.0).log_scales, splat.log_scales)


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_made_ahead_comes_in_order(threads: int) -> None:
    assert list(prefetch(lambda number: number * number, range(20), threads)) == [n * n for n in range(20)]
    assert list(prefetch(str, [], threads)) == []


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_what_follows_in_the_background_comes_in_order_and_waits_for_few(threads: int) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    for expected, result in enumerate(in_background(lambda number: number * number, source(), threads)):
        assert result == expected * expected
        assert len(taken) <= expected + 1 + 2 * threads
    assert len(taken) == 20

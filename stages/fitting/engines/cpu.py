"""The engine cpu: one object after the other on one core, in numba."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stages.artifacts.splat import Splat
from stages.contract.stage import StageError
from stages.fitting.in_numba import blending
from stages.fitting.in_numba.adam import adam
from stages.fitting.in_numba.canvas import Canvas, camera_row, targets
from stages.fitting.in_numba.ssim_gradient import SsimGradient, box_of
from stages.fitting.parameters import OPACITY, learning_rates, pack, unpack
from stages.fitting.photos import Photos
from stages.fitting.points import neighbour_distances
from stages.fitting.problem import Engine, FitProblem, FitResult, Method, finish
from stages.fitting.quality import measure
from stages.fitting.step_schedule import StepSchedule, count_round_steps, drawing_order


def open_engine(device: str) -> Engine:
    """Make an engine, and fit a tiny object: what is not compiled yet is compiled now, and not while a row is timed."""
    engine = CpuEngine()
    problem = _tiny_problem()
    ((_, fitted),) = engine.fit([problem])
    if isinstance(fitted, FitResult):
        photos = problem.photos
        measure(lambda splat: engine.draw(splat, photos, antialiased=False), fitted.splat, photos.colors)
    return engine


def _tiny_problem() -> FitProblem:
    """Two views of eight Gaussians, large enough for every function of a fit."""
    size, count = 40, 8
    means = np.linspace(-0.5, 0.5, 3 * count, dtype=np.float32).reshape(count, 3)
    colors = np.zeros((2, size, size, 4), np.uint8)
    colors[:, 14:26, 14:26] = 255
    lens = np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]], np.float32)
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 3  # from the origin to the camera
    photos = Photos(colors, np.zeros(colors.shape[:3], np.float32), np.stack([lens, lens]), np.stack([pose, pose]))
    start = Splat(
        means,
        np.repeat(np.log(neighbour_distances(means))[:, None], 3, axis=1),
        np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        np.zeros(count, np.float32),
        np.zeros((count, 1, 3), np.float32),
    )
    return FitProblem("tiny", photos, start, Method(gaussians=count, steps=12), seed=0)


class CpuEngine:
    """Fits the same problem to the same bytes: it uses no threads, and adds in a fixed order."""

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult | StageError]]:
        for problem in problems:
            try:
                yield problem.id, _fit(problem)
            except StageError as error:
                yield problem.id, error

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        height, width = photos.size
        rows = pack(splat, splat.degree)
        canvas = Canvas(len(rows), len(splat), height, width, antialiased)
        images = np.zeros((len(photos), height, width, 4), np.float32)
        for view, image in enumerate(images):
            canvas.draw(rows, camera_row(photos.intrinsics[view], photos.world_to_camera[view]))
            image[:] = canvas.pixels()
        return images


def _fit(problem: FitProblem) -> FitResult:
    photos, method = problem.photos, problem.method
    height, width = photos.size
    random = np.random.default_rng(problem.seed)
    order = drawing_order(len(photos), method.steps, random)
    rows = pack(problem.start, method.sh_degree)
    canvas = Canvas(len(rows), len(problem.start), height, width, method.antialiased)
    cameras = [camera_row(*both) for both in zip(photos.intrinsics, photos.world_to_camera, strict=True)]
    target = targets(photos.colors)
    ssim = SsimGradient(height, width)
    boxes = [box_of(image[..., 3]) for image in photos.colors]
    first, second = np.zeros_like(rows), np.zeros_like(rows)
    full_rates = learning_rates(len(rows))
    schedule, loss, step = StepSchedule(method.steps, method.early_stop), 0.0, 0
    while step < schedule.end:
        view = order[step]
        background = random.random(3, np.float32)
        canvas.draw(rows, cameras[view])
        loss += blending.compare(
            canvas.image, target[view], background, method.parabola, canvas.slope, canvas.block_count
        )
        if method.ssim_share and step >= schedule.finish_from:
            ssim.add_to(canvas.slope, canvas.image, target[view], boxes[view], method.ssim_share)
        canvas.draw_backward(rows, cameras[view])
        rates = full_rates * np.float32(schedule.rate(step))
        rates[OPACITY] = full_rates[OPACITY]
        step += 1
        adam(rows, canvas.gradients, first, second, rates, step)
        if step % count_round_steps(len(photos)) == 0:
            schedule.end_round(step, loss)
            loss = 0.0
    return finish(unpack(rows), step)

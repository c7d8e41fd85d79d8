"""The CPU engine: one object after the other on one core, in numba."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stages.artifacts.splat import Splat
from stages.contract.stage import StageError
from stages.fitting import raster
from stages.fitting.canvas import Canvas, camera_row, targets
from stages.fitting.optimiser import adam
from stages.fitting.pace import Pace, drawing_order, round_of
from stages.fitting.parameters import learning_rates, pack, unpack
from stages.fitting.photos import Photos
from stages.fitting.problem import FitProblem, FitResult, finished
from stages.fitting.projection import OPACITY
from stages.fitting.similarity import Similarity, box_of


class CpuEngine:
    """What it makes depends on the problem alone: no threads, a fixed order of sums."""

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult | StageError]]:
        for problem in problems:
            try:
                yield problem.id, _fit(problem)
            except StageError as error:
                yield problem.id, error

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        height, width = photos.colors.shape[1:3]
        rows = pack(splat, splat.degree)
        canvas = Canvas(*rows.shape, height, width, antialiased)
        images = np.zeros((len(photos), height, width, 4), np.float32)
        for view, image in enumerate(images):
            canvas.draw(rows, camera_row(photos.intrinsics[view], photos.world_to_camera[view]))
            image[:] = canvas.pixels()
        return images


def _fit(problem: FitProblem) -> FitResult:
    photos, method = problem.photos, problem.method
    height, width = photos.colors.shape[1:3]
    random = np.random.default_rng(problem.seed)
    order = drawing_order(len(photos), method.steps, random)
    rows = pack(problem.start, method.sh_degree)
    canvas = Canvas(*rows.shape, height, width, method.antialiased)
    cameras = [camera_row(*both) for both in zip(photos.intrinsics, photos.world_to_camera, strict=True)]
    wanted = targets(photos.colors)
    similarity = Similarity(height, width)
    boxes = [box_of(image[..., 3]) for image in photos.colors]
    first, second = np.zeros_like(rows), np.zeros_like(rows)
    full_rates = learning_rates(len(rows))
    pace, loss, step = Pace(method.steps, method.stop_early), 0.0, 0
    while step < pace.end:
        view = order[step]
        background = random.random(3, np.float32)
        canvas.draw(rows, cameras[view])
        loss += raster.compare(canvas.image, wanted[view], background, method.parabola, canvas.slope, canvas.cells)
        if method.similarity and step >= pace.finish_from:
            similarity.add_slope(
                canvas.image, wanted[view], boxes[view], canvas.columns, method.similarity, canvas.slope
            )  # fmt: skip
        canvas.draw_backward(rows, cameras[view])
        rates = full_rates * np.float32(pace.rate(step))
        rates[OPACITY] = full_rates[OPACITY]
        step += 1
        adam(rows, canvas.gradients, first, second, rates, step)
        if step % round_of(len(photos)) == 0:
            pace.round_ended(step, loss)
            loss = 0.0
    return finished(unpack(rows), step)

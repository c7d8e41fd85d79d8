"""The CPU engine: one object on one core, in numba; every buffer is made once an object and used at every step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stages.fitting import raster
from stages.fitting.optimiser import adam
from stages.fitting.ordering import farthest_first
from stages.fitting.photos import Photos
from stages.fitting.problem import FitProblem, FitResult
from stages.fitting.projection import (
    COLOR,
    ELLIPSE,
    LOG_SCALE,
    MEAN,
    OPACITY,
    QUATERNION,
    ROWS,
    project,
    project_backward,
)
from stages.fitting.quality import premultiply
from stages.splat import SH_ZERO, Splat
from stages.stage import StageError

_ROOM = 16  # entries (blocks that a Gaussian was drawn into) a Gaussian, to begin with
_DECAY = 0.1  # what is left of the learning rates at the end, but for the opacity's
_PARABOLA = 0.05  # errors below are squared rather than absolute
_RATES = {MEAN: 5e-4, LOG_SCALE: 4e-2, QUATERNION: 1e-3, OPACITY: 5e-2, COLOR: 1e-2}


def _rates() -> np.ndarray:
    """[14]: the learning rate of each row."""
    rates = np.zeros(ROWS, np.float32)
    for first, rate in sorted(_RATES.items()):
        rates[first:] = rate
    return rates


def pack(splat: Splat) -> np.ndarray:
    """[14, N] float32 rows, as projection.py names them."""
    colors = np.clip(splat.sh[:, 0] * SH_ZERO + 0.5, 0, 1)
    parts = [splat.means, splat.log_scales, splat.quaternions, splat.opacity_logits[:, None], colors]
    return np.ascontiguousarray(np.concatenate(parts, axis=1).T, np.float32)


def unpack(rows: np.ndarray) -> Splat:
    columns = np.ascontiguousarray(rows.T)
    quaternions = columns[:, QUATERNION:OPACITY]
    return Splat(
        means=columns[:, MEAN:LOG_SCALE],
        log_scales=columns[:, LOG_SCALE:QUATERNION],
        quaternions=quaternions / np.maximum(np.linalg.norm(quaternions, axis=1, keepdims=True), 1e-12),
        opacity_logits=columns[:, OPACITY],
        sh=((columns[:, COLOR:] - np.float32(0.5)) / np.float32(SH_ZERO))[:, None],
    )


def camera_row(intrinsics: np.ndarray, world_to_camera: np.ndarray) -> np.ndarray:
    """[16] float32: rotation 9, shift 3, fx fy cx cy."""
    lens = [intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]]
    return np.concatenate([world_to_camera[:3, :3].ravel(), world_to_camera[:3, 3], lens]).astype(np.float32)


class Canvas:
    """Draws N Gaussians into images of one size, and brings an image's gradient back to them."""

    def __init__(self, count: int, height: int, width: int):
        self.height, self.width = height, width
        self.columns, self.rows = raster.blocks_along(width), raster.blocks_along(height)
        cells = self.columns * self.rows
        self.ellipses = np.zeros((count, ELLIPSE), np.float32)
        self.depths = np.zeros(count, np.float32)
        self.order, self.spare, self.keys = (np.zeros(count, np.int32) for _ in range(3))
        self.counts = np.zeros(2048, np.int32)
        self.image = np.zeros(cells * raster.CANVAS, np.float32)
        self.slope = np.zeros(cells * raster.CANVAS, np.float32)
        self.full = np.zeros(cells, np.bool_)
        self.starts = np.zeros(count + 1, np.int32)
        self.flat = np.zeros((count, 9), np.float32)
        self.gradients = np.zeros((ROWS, count), np.float32)
        self._make_room(max(count * _ROOM, 1024))
        self.visible = 0

    def _make_room(self, entries: int) -> None:
        self.blocks = np.zeros(entries, np.int32)
        self.alphas = np.zeros(entries * raster.LANES, np.float32)

    @property
    def cells(self) -> int:
        return self.columns * self.rows

    def draw(self, rows: np.ndarray, camera: np.ndarray) -> None:
        """Fill `image` with rows [14, N], seen by a camera [16]."""
        project(rows, camera, np.float32(self.width), np.float32(self.height), self.ellipses, self.depths)
        self.visible = raster.sort_by_depth(self.depths, self.order, self.spare, self.keys, self.counts)
        while self._draw(rows) < 0:
            self._make_room(2 * len(self.blocks))

    def _draw(self, rows: np.ndarray) -> int:
        return raster.draw(
            rows, self.ellipses, self.order, self.visible, self.columns, self.rows, raster.OFFSETS,
            self.image, self.full, self.blocks, self.alphas, self.starts,
        )  # fmt: skip

    def draw_backward(self, rows: np.ndarray, camera: np.ndarray) -> None:
        """Fill `gradients` from `slope`, after `draw` with the same arguments."""
        raster.draw_backward(
            rows, self.ellipses, self.order, self.visible, self.columns, raster.OFFSETS,
            self.blocks, self.alphas, self.starts, self.slope, self.flat,
        )  # fmt: skip
        size = np.float32(self.width), np.float32(self.height)
        project_backward(rows, camera, *size, self.ellipses, self.depths, self.flat, self.gradients)

    def pixels(self) -> np.ndarray:
        """[H, W, 4] float32: premultiplied colour and alpha of what was drawn."""
        blocks = self.image.reshape(self.cells, 5, raster.LANES)[:, [0, 1, 2, 4]].copy()
        blocks[:, 3] = 1 - blocks[:, 3]
        return raster.from_blocks(blocks, self.height, self.width)


def _targets(photos: Photos) -> np.ndarray:
    """[V, B * 64] float32: premultiplied colour and alpha in blocks; the padding's alpha is below zero."""
    images = premultiply(photos.colors)
    outside = raster.to_blocks(np.ones((*images.shape[1:3], 1), np.float32))[:, 0] == 0
    blocks = np.stack([raster.to_blocks(image) for image in images])
    blocks[:, outside.nonzero()[0], 3, outside.nonzero()[1]] = -1
    return blocks.reshape(len(images), -1)


class CpuEngine:
    """One object after the other. What it makes depends on the problem alone: no threads, a fixed order of sums."""

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult | StageError]]:
        for problem in problems:
            try:
                yield problem.id, self._fit(problem)
            except StageError as error:
                yield problem.id, error

    def draw(self, splat: Splat, photos: Photos) -> np.ndarray:
        """[V, H, W, 4] float32: premultiplied colour and alpha of the splat, seen from the photos' cameras."""
        height, width = photos.colors.shape[1:3]
        canvas = Canvas(len(splat), height, width)
        rows = pack(splat)
        images = np.zeros((len(photos), height, width, 4), np.float32)
        for view, image in enumerate(images):
            canvas.draw(rows, camera_row(photos.intrinsics[view], photos.world_to_camera[view]))
            image[:] = canvas.pixels()
        return images

    def _fit(self, problem: FitProblem) -> FitResult:
        photos = problem.photos
        random = np.random.default_rng(problem.seed)
        rows = pack(problem.start)
        canvas = Canvas(rows.shape[1], *photos.colors.shape[1:3])
        cameras = [camera_row(*both) for both in zip(photos.intrinsics, photos.world_to_camera, strict=True)]
        targets = _targets(photos)
        first, second = np.zeros_like(rows), np.zeros_like(rows)
        rates = _rates()
        decay = np.full(ROWS, _DECAY ** (1 / max(problem.steps, 1)), np.float32)
        decay[OPACITY] = 1
        views: list[int] = []
        for step in range(1, problem.steps + 1):
            views = views or random.permutation(len(photos)).tolist()
            view = views.pop()
            background = random.random(3, np.float32)
            canvas.draw(rows, cameras[view])
            raster.compare(canvas.image, targets[view], background, np.float32(_PARABOLA), canvas.slope, canvas.cells)
            canvas.draw_backward(rows, cameras[view])
            adam(rows, canvas.gradients, first, second, rates, step)
            rates *= decay
        splat = unpack(rows)
        if not splat.is_finite():
            raise StageError("not_finite", f"the fit left numbers that are not finite after {problem.steps} steps")
        return FitResult(splat.take(farthest_first(splat.means, len(splat), 0)), problem.steps)

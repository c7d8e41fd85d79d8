"""Draw Gaussians with the CPU engine; every buffer is allocated once per object and used at every step."""

from __future__ import annotations

import numpy as np

from stages.fitting.in_numba import blending, harmonics
from stages.fitting.in_numba.projection import ELLIPSE, project, project_backward
from stages.fitting.parameters import COLOR, REST, degree_of
from stages.fitting.quality import premultiply

_ROOM = 16  # entries (blocks that a Gaussian was drawn into) per Gaussian, at first


def camera_row(intrinsics: np.ndarray, world_to_camera: np.ndarray) -> np.ndarray:
    """[16] float32: rotation 9, shift 3, fx fy cx cy."""
    lens = [intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]]
    return np.concatenate([world_to_camera[:3, :3].ravel(), world_to_camera[:3, 3], lens]).astype(np.float32)


class Canvas:
    """Draws Gaussians, given as rows [R, N], into images of one size, and propagates an image's gradient to them."""

    def __init__(self, rows: int, count: int, height: int, width: int, antialiased: bool = False):
        self.height, self.width = height, width
        self.antialiased = antialiased
        self.degree = degree_of(rows)
        self.columns, self.rows = blending.count_blocks(width), blending.count_blocks(height)
        self.block_count = self.columns * self.rows
        self.ellipses = np.zeros((count, ELLIPSE), np.float32)
        self.depths = np.zeros(count, np.float32)
        self.order, self.spare, self.keys = (np.zeros(count, np.int32) for _ in range(3))
        self.counts = np.zeros(2048, np.int32)
        self.image = np.zeros(self.block_count * blending.BLOCK_SIZE, np.float32)
        self.slope = np.zeros(self.block_count * blending.BLOCK_SIZE, np.float32)
        self.full = np.zeros(self.block_count, np.bool_)
        self.starts = np.zeros(count + 1, np.int32)
        self.sums = np.zeros((count, 9), np.float32)
        self.gradients = np.zeros((rows, count), np.float32)
        self.shades = np.zeros((3, count), np.float32)
        self._harmonics = np.zeros(16, np.float32), np.zeros((16, 3), np.float32)
        self._make_room(max(count * _ROOM, 1024))
        self.visible = 0

    def _make_room(self, entries: int) -> None:
        self.blocks = np.zeros(entries, np.int32)
        self.alphas = np.zeros(entries * blending.LANES, np.float32)

    def _colors(self, rows: np.ndarray) -> np.ndarray:
        """[3, N]: as seen from the present camera."""
        return self.shades if self.degree else rows[COLOR:REST]

    def draw(self, rows: np.ndarray, camera: np.ndarray) -> None:
        """Fill `image` with rows [R, N], seen by a camera [16]."""
        size = np.float32(self.width), np.float32(self.height)
        project(rows, camera, *size, self.antialiased, self.ellipses, self.depths)
        if self.degree:
            harmonics.shade(rows, self.degree, _eye(camera), self.depths, *self._harmonics, self.shades)
        self.visible = blending.sort_by_depth(self.depths, self.order, self.spare, self.keys, self.counts)
        while self._draw(self._colors(rows)) < 0:
            self._make_room(2 * len(self.blocks))

    def _draw(self, colors: np.ndarray) -> int:
        return blending.draw(
            colors, self.ellipses, self.order, self.visible, self.columns, self.rows, blending.OFFSETS,
            self.image, self.full, self.blocks, self.alphas, self.starts,
        )  # fmt: skip

    def draw_backward(self, rows: np.ndarray, camera: np.ndarray) -> None:
        """Fill `gradients` from `slope`, after `draw` with the same arguments."""
        blending.draw_backward(
            self._colors(rows), self.ellipses, self.order, self.visible, self.columns, blending.OFFSETS,
            self.blocks, self.alphas, self.starts, self.slope, self.sums,
        )  # fmt: skip
        size = np.float32(self.width), np.float32(self.height)
        project_backward(
            rows, camera, *size, self.antialiased, self.ellipses, self.depths, self.sums, self.gradients
        )  # fmt: skip
        if self.degree:
            harmonics.shade_backward(
                rows, self.degree, _eye(camera), self.depths, *self._harmonics, self.shades, self.gradients
            )

    def pixels(self) -> np.ndarray:
        """[H, W, 4] float32: premultiplied colour and alpha of what was drawn."""
        blocks = self.image.reshape(self.block_count, 5, blending.LANES)[:, [0, 1, 2, 4]].copy()
        blocks[:, 3] = 1 - blocks[:, 3]
        return blending.from_blocks(blocks, self.height, self.width)


def _eye(camera: np.ndarray) -> np.ndarray:
    """[3] float32: where the camera stands."""
    return -(camera[9:12] @ camera[:9].reshape(3, 3))


def targets(colors: np.ndarray) -> np.ndarray:
    """[V, B * 64] float32 of [V, H, W, 4] uint8: premultiplied colour and alpha in blocks; padding has alpha -1."""
    images = premultiply(colors)
    outside = blending.to_blocks(np.ones((*images.shape[1:3], 1), np.float32))[:, 0] == 0
    blocks = np.stack([blending.to_blocks(image) for image in images])
    blocks[:, outside.nonzero()[0], 3, outside.nonzero()[1]] = -1
    return blocks.reshape(len(images), -1)

"""Find the window of a view that contains the object: only that is read back and encoded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """The pixels from left up to right, and from top up to bottom."""

    left: int
    top: int
    right: int
    bottom: int


def window_of(points: np.ndarray, clip: np.ndarray, size: int) -> Window:
    """The window that [N, 3] points in front of the camera can cover, with one empty pixel around it."""
    x, y, w = clip[[0, 1, 3], :3].astype(np.float32) @ points.T + clip[[0, 1, 3], 3:].astype(np.float32)
    pixels = [(axis / w + 1) * np.float32(size / 2) for axis in (x, y)]
    first = [min(max(int(np.floor(axis.min())) - 1, 0), size - 1) for axis in pixels]
    last = [max(min(int(np.ceil(axis.max())) + 1, size), start + 1) for axis, start in zip(pixels, first, strict=True)]
    return Window(*first, *last)


def clip_from_camera(intrinsics: np.ndarray, size: int, near: float, far: float) -> np.ndarray:
    """[4, 4]: OpenCV's camera frame to clip space, with the first row of the image at the bottom."""
    clip = np.zeros((4, 4))
    clip[0, :3] = 2 * intrinsics[0] / size - intrinsics[2]
    clip[1, :3] = 2 * intrinsics[1] / size - intrinsics[2]
    clip[2, 2:] = (far + near) / (far - near), -2 * far * near / (far - near)
    clip[3, 2] = 1
    return clip

"""The window of a view that contains the object, and the images encoded from it."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.rendering import cameras, encoding
from stages.rendering.window import Window, clip_from_camera, window_of


@pytest.mark.parametrize("window", [Window(0, 0, 9, 9), Window(2, 3, 5, 9), Window(4, 0, 9, 1), Window(8, 8, 9, 9)])
def test_pixels_are_in_their_window_and_all_else_is_empty(window: Window) -> None:
    generator = np.random.default_rng(0)
    shape = (window.bottom - window.top, window.right - window.left)
    color = generator.integers(0, 255, (*shape, 4), np.uint8)
    color[..., 3] = 255
    depth = generator.uniform(0.5, 2, shape).astype(np.float32)
    expected = np.zeros((9, 9, 4), np.uint8)
    inside = (slice(window.top, window.bottom), slice(window.left, window.right))
    expected[inside] = color
    assert (np.asarray(Image.open(io.BytesIO(encoding.color_png(color, window, 9)))) == expected).all()
    steps = np.asarray(Image.open(io.BytesIO(encoding.depth_png(depth, 1e-4, window, 9)))).astype(int)
    assert np.abs(steps[inside] - depth / 1e-4).max() <= 0.51
    steps[inside] = 0
    assert not steps.any()


def test_a_window_contains_all_points_and_little_else() -> None:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3)) * (1, 0.2, 0.1)
    size, fov = 100, 40.0
    poses = cameras.look_at_centre(cameras.fibonacci(20, 0), fov)
    for matrix, pose in zip(cameras.intrinsics(20, size, fov), poses, strict=True):
        seen = (points - pose[:3, 3]) @ pose[:3, :3] @ matrix.T  # camera frame to pixels
        low, high = np.split(np.sort(seen[:, :2] / seen[:, 2:], axis=0)[[0, -1]].ravel(), 2)
        clip = clip_from_camera(matrix, size, 1.0, 5.0) @ np.linalg.inv(pose)
        window = window_of(points.astype(np.float32), clip, size)
        assert (np.floor(low) - 1 == window[:2]).all() and (np.ceil(high) + 1 == window[2:]).all()


def test_a_window_stays_in_the_frame() -> None:
    clip = clip_from_camera(np.array([[50.0, 0, 50], [0, 50, 50], [0, 0, 1]]), 100, 1.0, 5.0)
    assert window_of(np.array([[-9, -9, 2], [9, 9, 2]], np.float32), clip, 100) == (0, 0, 100, 100)
    assert window_of(np.array([[9, 9, 2]], np.float32), clip, 100) == (99, 99, 100, 100)

"""Cameras around the unit sphere."""

import numpy as np
import pytest

from stages.rendering import cameras


@pytest.mark.parametrize("directions", [cameras.fibonacci(24, 0), cameras.orbit(7, 20.0), cameras.fibonacci(1, 3)])
def test_cameras_see_the_whole_unit_sphere(directions: np.ndarray) -> None:
    fov_deg, size = 40.0, 128
    poses = cameras.look_at_centre(directions, fov_deg)
    matrix = cameras.intrinsics(1, size, fov_deg)[0]
    points = np.random.default_rng(0).normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for pose in poses:
        assert np.allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3))
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        seen = (points - pose[:3, 3]) @ pose[:3, :3]  # in the camera's frame
        pixels = seen @ matrix.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        assert (seen[:, 2] > 0).all()
        assert pixels.min() > 0 and pixels.max() < size
        assert pixels.min() < 6 and pixels.max() > size - 6  # and the sphere fills the frame


def test_axes_are_those_of_opencv() -> None:
    pose = cameras.look_at_centre(cameras.orbit(4, 0.0), 40.0)
    assert np.allclose(pose[0, :3, 0], [1, 0, 0])  # from the front, x goes right
    assert np.allclose(pose[0, :3, 1], [0, -1, 0])  # y goes down
    assert np.allclose(pose[0, :3, 2], [0, 0, -1])  # and z forward
    assert np.allclose(pose[1, :3, 3] / np.linalg.norm(pose[1, :3, 3]), [1, 0, 0])  # the next one stands at +x


def test_spiral_is_even_and_its_seed_rotates_it() -> None:
    spiral = cameras.fibonacci(200, 5)
    assert np.allclose(np.linalg.norm(spiral, axis=1), 1)
    assert np.abs(spiral.mean(0)).max() < 0.01
    near = np.sort(spiral @ spiral.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(near)).min() > 8  # 200 even points are about 13 degrees apart
    assert np.array_equal(spiral, cameras.fibonacci(200, 5))
    assert not np.allclose(spiral, cameras.fibonacci(200, 6))
    assert np.allclose(spiral[:, 1], cameras.fibonacci(200, 6)[:, 1])


def test_a_camera_straight_above_has_a_pose() -> None:
    poses = cameras.look_at_centre(np.array([[0.0, 1, 0], [0, -1, 0]]), 40.0)
    assert np.isfinite(poses).all()
    assert np.allclose(np.linalg.det(poses[:, :3, :3]), 1)

"""Place cameras around the unit sphere. Axes as in OpenCV (x right, y down, z forward); y is up in the world."""

from __future__ import annotations

import math

import numpy as np

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_MARGIN = 1.02  # leaves a pixel or two around the unit sphere, so that no silhouette touches the border


def fibonacci(count: int, seed: int) -> np.ndarray:
    """[V, 3] float64 unit vectors, a spiral from the top to the bottom; the seed rotates it about the y axis."""
    turn = np.random.default_rng(seed).uniform(0, 2 * math.pi)
    index = np.arange(count)
    height = 1 - (2 * index + 1) / count
    angle = turn + index * _GOLDEN_ANGLE
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.sin(angle), height, ring * np.cos(angle)], 1)


def orbit(count: int, elevation_deg: float) -> np.ndarray:
    """[V, 3] float64 unit vectors on a circle, from the front (+z) towards the object's left (+x)."""
    angle = 2 * math.pi * np.arange(count) / count
    elevation = math.radians(elevation_deg)
    ring = math.cos(elevation)
    return np.stack([ring * np.sin(angle), np.full(count, math.sin(elevation)), ring * np.cos(angle)], 1)


def distance(fov_deg: float) -> float:
    """The distance from which the unit sphere just fits the frame."""
    return _MARGIN / math.sin(math.radians(fov_deg) / 2)


def look_at_centre(directions: np.ndarray, fov_deg: float) -> np.ndarray:
    """[V, 4, 4] float64: camera to world, of cameras in these directions that look at the origin with y up."""
    poses = np.tile(np.eye(4), (len(directions), 1, 1))
    for pose, direction in zip(poses, directions, strict=True):
        forward = -direction
        up = (0.0, 1.0, 0.0) if abs(direction[1]) < 0.9999 else (0.0, 0.0, -1.0)
        right = np.cross(forward, up)
        right /= np.linalg.norm(right)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
        pose[:3, 3] = direction * distance(fov_deg)
    return poses


def intrinsics(count: int, size: int, fov_deg: float) -> np.ndarray:
    """[V, 3, 3] float64, in pixels; the axis goes through the middle of the frame."""
    focal = size / 2 / math.tan(math.radians(fov_deg) / 2)
    return np.tile(np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]), (count, 1, 1))

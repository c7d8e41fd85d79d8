"""Define Solid, a closed triangle surface with normals and UVs in model units, and its transformations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Solid:
    """Faces wind counter-clockwise seen from outside. UVs are lengths on the surface, so a pattern keeps its size."""

    points: np.ndarray  # [N, 3]
    normals: np.ndarray  # [N, 3] unit, outward
    uvs: np.ndarray  # [N, 2] model units
    faces: np.ndarray  # [F, 3] int
    around: float = 0.0  # the length of u after which the surface closes; 0 if it does not

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        return replace(self, points=self.points + (x, y, z))

    def turned(self, axis: str, degrees: float) -> Solid:
        """Rotate counter-clockwise about the x, y or z axis."""
        turn = rotation(axis, degrees)
        return replace(self, points=self.points @ turn.T, normals=self.normals @ turn.T)

    def stretched(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Solid:
        """Scale by positive factors; the UVs stay, so a pattern is stretched too."""
        normals = self.normals / (x, y, z)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return replace(self, points=self.points * (x, y, z), normals=normals)

    def bent(self, points: np.ndarray) -> Solid:
        """Replace the points [N, 3]; normals and UVs stay, so this is only for slight bends."""
        return replace(self, points=points)

    def volume(self) -> float:
        """The signed volume: positive if the faces look outward."""
        a, b, c = (self.points[self.faces[:, corner]] for corner in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


def rotation(axis: str, degrees: float) -> np.ndarray:
    """[3, 3] rotation counter-clockwise about x, y or z"""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = cosine
    turn[second, first], turn[first, second] = sine, -sine
    return turn


def around_y(solid: Solid, count: int, start_degrees: float = 0.0) -> Iterable[Solid]:
    """`count` copies, evenly spaced about the y axis."""
    return (solid.turned("y", start_degrees + 360.0 * index / count) for index in range(count))

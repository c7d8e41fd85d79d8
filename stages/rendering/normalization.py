"""Place a mesh in the unit sphere."""

from __future__ import annotations

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.model import Model, Part

_FARTHEST = 1e13  # radii from the origin; float64 has three digits left there


def normalization(model: Model, up: str) -> np.ndarray:
    """[4, 4] float64: makes y up, centres the bounding box, and scales the farthest drawn vertex to distance 1."""
    turn = np.eye(3) if up == "y" else np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    drawn = [_corners(part) @ turn.T for part in model.parts if len(part.faces)]
    if not drawn:
        raise StageError("no_faces", "the mesh has no triangles to draw")
    for points in drawn:
        if not np.isfinite(points).all():
            count = int((~np.isfinite(points)).any(1).sum())
            raise StageError("bad_coordinates", f"{count:,} vertices are NaN or infinite")
    low = np.min([points.min(0) for points in drawn], axis=0)
    high = np.max([points.max(0) for points in drawn], axis=0)
    centre = low + (high - low) / 2  # low + high could overflow
    with np.errstate(over="ignore"):
        radius = max(float(np.sqrt(((points - centre) ** 2).sum(1).max())) for points in drawn)
    if not np.isfinite(radius):
        extent = float((high - low).max())
        raise StageError("bad_coordinates", f"an extent of {extent:.3g} is too large to compute with")
    if not radius > 1e-30:
        raise StageError("empty_scene", "all vertices are at one point")
    matrix = np.eye(4)
    matrix[:3, :3] = turn / radius
    with np.errstate(over="ignore"):
        matrix[:3, 3] = -centre / radius
    if not np.abs(matrix[:3, 3]).max() < _FARTHEST:
        detail = f"the mesh has radius {radius:.3g} and is {np.abs(centre).max():.3g} away from the origin: too far"
        raise StageError("bad_coordinates", detail)
    return matrix


def _corners(part: Part) -> np.ndarray:
    """[M, 3]: the vertices that faces use."""
    used = np.zeros(len(part.positions), bool)
    used[part.faces] = True
    return part.positions[used]

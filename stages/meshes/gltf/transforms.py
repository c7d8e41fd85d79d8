"""Transform the vertices of glTF: matrices of nodes, instances, and skins."""

from __future__ import annotations

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.gltf.fields import Fields

_CHUNK = 1 << 16  # vertices that are skinned at once
_SIZES = {"translation": 3, "rotation": 4, "scale": 3}


def local(node: Fields) -> np.ndarray:
    """[4, 4] float64: the transform of a node relative to its parent."""
    if "matrix" in node:
        return np.array(node.reals("matrix", 16)).reshape(4, 4).T
    parts = {name: np.array([node.reals(name, size)]) for name, size in _SIZES.items() if name in node}
    return matrices(**parts)[0] if parts else np.eye(4)


def matrices(
    translation: np.ndarray | None = None, rotation: np.ndarray | None = None, scale: np.ndarray | None = None
) -> np.ndarray:
    """[I, 4, 4] float64, of [I, 3] translations, [I, 4] quaternions (x, y, z, w) of any length, and [I, 3] scales."""
    count = next(len(values) for values in (translation, rotation, scale) if values is not None)
    found = np.tile(np.eye(4), (count, 1, 1))
    if rotation is not None:
        x, y, z, w = rotation.T
        size = x * x + y * y + z * z + w * w
        s = np.where(size > 0, 2 / np.where(size > 0, size, 1), 0)
        rows = [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
        found[:, :3, :3] = np.moveaxis(np.array(rows), -1, 0)
    if scale is not None:
        found[:, :3, :3] *= scale[:, None, :]
    if translation is not None:
        found[:, :3, 3] = translation
    return found


def instanced(
    positions: np.ndarray, normals: np.ndarray, faces: np.ndarray, instances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All of [I, 4, 4] instances, one after the other; those that mirror have the corners of their faces reversed."""
    linear = instances[:, :3, :3]
    cofactors = np.stack([np.cross(linear[:, 1], linear[:, 2]), np.cross(linear[:, 2], linear[:, 0]),
                          np.cross(linear[:, 0], linear[:, 1])], 1)  # fmt: skip
    with np.errstate(invalid="ignore"):  # coordinates that are not finite are refused later
        mirrored = np.linalg.det(linear) < 0
    cofactors[mirrored] *= -1
    moved = positions @ linear.transpose(0, 2, 1) + instances[:, None, :3, 3]
    all_faces = faces + (np.arange(len(instances)) * len(positions))[:, None, None]
    all_faces[mirrored] = all_faces[mirrored][:, :, ::-1]
    moved_normals = normals @ cofactors.transpose(0, 2, 1)
    return moved.reshape(-1, 3), moved_normals.reshape(-1, 3), all_faces.reshape(-1, 3)


def skinned(
    positions: np.ndarray, normals: np.ndarray, influences: list[tuple[np.ndarray, np.ndarray]], skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move vertices by their joints; the transform of the skinned node itself is ignored.

    influences: sets of [N, 4] joints and [N, 4] weights; skin: [J, 4, 4].
    """
    for joints, _ in influences:
        if len(joints) and not 0 <= joints.min() <= joints.max() < len(skin):
            raise StageError("corrupt_file", f"a vertex names joint {joints.max():,}, but the skin has {len(skin):,}")
    moved, turned = np.empty_like(positions), np.empty_like(normals)
    for start in range(0, len(positions), _CHUNK):
        rows = slice(start, start + _CHUNK)
        blend = _blend([(joints[rows], weights[rows]) for joints, weights in influences], skin)
        moved[rows] = np.einsum("nij,nj->ni", blend[:, :3, :3], positions[rows]) + blend[:, :3, 3]
        turned[rows] = np.einsum("nij,nj->ni", blend[:, :3, :3], normals[rows])
    return moved, turned


def _blend(influences: list[tuple[np.ndarray, np.ndarray]], skin: np.ndarray) -> np.ndarray:
    """[N, 4, 4]: the mean of the joints' transforms by their weights."""
    count = len(influences[0][0])
    blend, total = np.zeros((count, 4, 4)), np.zeros(count)
    for joints, weights in influences:
        for column in range(weights.shape[1]):
            blend += weights[:, column, None, None] * skin[joints[:, column]]
        total += weights.sum(1)
    blend /= np.where(total > 0, total, 1)[:, None, None]
    blend[total <= 0] = np.eye(4)
    return blend

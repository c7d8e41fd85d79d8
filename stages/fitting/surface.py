"""Find the surface that the depth of views shows: points in space, thinned to about one for each voxel."""

from __future__ import annotations

import math

import numpy as np

from stages.common.compiled import compiled
from stages.fitting.photos import Photos
from stages.fitting.points import bounds_of, voxels_of

_FAINTEST = 25  # alpha of a pixel that may show a surface
_EDGE = 8  # a pixel whose alpha is lower than a neighbour's by more than this is at the object's edge
_BEND = 4.0  # pixel footprints that the depth of a smooth surface may bend over three pixels
_PIXELS = 8  # a wanted point; of twice as many or more, only every second, third, ... of a row is used
_CLOSE = 0.1  # how far the number of points may be from the wanted one, relative to it
_INSET = 0.5  # pixel footprints that a point is put below the surface, because drawing blurs beyond the surface


def surface_points(photos: Photos, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, normals and colours [M, 3] of the surface; about `wanted` of them, or fewer."""
    capacity = np.count_nonzero(photos.depths > 0)
    stride = max(1, capacity // (_PIXELS * wanted))
    points, normals = np.empty((capacity, 3), np.float32), np.empty((capacity, 3), np.float32)
    colors, facing = np.empty((capacity, 3), np.uint8), np.empty(capacity, np.float32)
    inverses = np.linalg.inv(photos.intrinsics.astype(np.float64))
    count = 0
    for view, inverse in enumerate(inverses):
        camera = photos.world_to_camera[view].astype(np.float64)
        found = points[count:], normals[count:], colors[count:], facing[count:]
        lens = photos.intrinsics[view, 0, 0]
        count += _view_surface(photos.depths[view], photos.colors[view], inverse, lens, camera, stride, *found)
    points, normals, colors, facing = points[:count], normals[:count], colors[:count], facing[:count]
    if not count:
        return points, normals, colors.astype(np.float32)
    chosen, means = _thin(points, colors, facing, wanted)
    return points[chosen], normals[chosen], means


def without_depth(photos: Photos) -> np.ndarray:
    """[V, H, W] bool: pixels of the object whose depth is not known, such as glass in front of nothing."""
    return _without_depth(photos.colors, photos.depths)


@compiled
def count_covered(colors: np.ndarray) -> np.ndarray:
    """[V]: how many pixels of each view [V, H, W, 4] show the object."""
    counts = np.zeros(len(colors), np.int64)
    for view in range(len(colors)):
        for y in range(colors.shape[1]):
            for x in range(colors.shape[2]):
                counts[view] += colors[view, y, x, 3] > 0
    return counts


@compiled
def _without_depth(colors: np.ndarray, depths: np.ndarray) -> np.ndarray:
    unknown = np.zeros(depths.shape, np.bool_)
    for view in range(len(depths)):
        for y in range(depths.shape[1]):
            for x in range(depths.shape[2]):
                if colors[view, y, x, 3] >= _FAINTEST and not depths[view, y, x] > 0:
                    unknown[view, y, x] = alphas_around(colors[view], y, x)[0] > 0
    return unknown


@compiled
def alphas_around(image: np.ndarray, y: int, x: int) -> tuple[int, int]:
    """The lowest and the highest alpha of a pixel and its neighbours in the image [H, W, 4]."""
    least, most = 255, 0
    for row in range(max(y - 1, 0), min(y + 2, image.shape[0])):
        for column in range(max(x - 1, 0), min(x + 2, image.shape[1])):
            least, most = min(least, image[row, column, 3]), max(most, image[row, column, 3])
    return least, most


@compiled
def _view_surface(
    depth: np.ndarray, image: np.ndarray, inverse: np.ndarray, lens: float, camera: np.ndarray, stride: int,
    points: np.ndarray, normals: np.ndarray, colors: np.ndarray, facing: np.ndarray,
) -> int:  # fmt: skip
    """Fill in points, normals, colours and cosines towards the camera of a view's smooth, opaque pixels; count them."""
    count = 0
    for y in range(1, depth.shape[0] - 1):
        for x in range(1 + y % stride, depth.shape[1] - 1, stride):
            if not _is_smooth(depth, image, lens, y, x):
                continue
            here = _unproject(depth, inverse, y, x)
            a, b = _unproject(depth, inverse, y, x + 1), _unproject(depth, inverse, y, x - 1)
            c, d = _unproject(depth, inverse, y + 1, x), _unproject(depth, inverse, y - 1, x)
            u, v = (a[0] - b[0], a[1] - b[1], a[2] - b[2]), (c[0] - d[0], c[1] - d[1], c[2] - d[2])
            # the normal points away from the camera
            normal = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
            length = max(math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2), 1e-12)
            normal = normal[0] / length, normal[1] / length, normal[2] / length
            away = max(math.sqrt(here[0] ** 2 + here[1] ** 2 + here[2] ** 2), 1e-12)
            facing[count] = abs(normal[0] * here[0] + normal[1] * here[1] + normal[2] * here[2]) / away
            inset = _INSET * depth[y, x] / lens
            for axis in range(3):
                position = turned = 0.0
                for k in range(3):
                    position += camera[k, axis] * (here[k] + inset * normal[k] - camera[k, 3])
                    turned += camera[k, axis] * normal[k]
                points[count, axis], normals[count, axis] = position, turned
                colors[count, axis] = image[y, x, axis]
            count += 1
    return count


@compiled
def _is_smooth(depth: np.ndarray, image: np.ndarray, lens: float, y: int, x: int) -> bool:
    """Whether a pixel is opaque, away from edges, and on a smooth part of the depth map."""
    here, left, right, up, down = depth[y, x], depth[y, x - 1], depth[y, x + 1], depth[y - 1, x], depth[y + 1, x]
    if not (here > 0 and left > 0 and right > 0 and up > 0 and down > 0) or image[y, x, 3] < _FAINTEST:
        return False
    if not max(abs(left + right - 2 * here), abs(up + down - 2 * here)) < _BEND * here / lens:
        return False
    return image[y, x, 3] >= 255 - _EDGE or image[y, x, 3] >= alphas_around(image, y, x)[1] - _EDGE


@compiled
def _unproject(depth: np.ndarray, inverse: np.ndarray, y: int, x: int) -> tuple[float, float, float]:
    """The point in the camera's frame that a pixel shows."""
    away, column, row = depth[y, x], x + 0.5, y + 0.5
    return (
        away * (inverse[0, 0] * column + inverse[0, 1] * row + inverse[0, 2]),
        away * (inverse[1, 0] * column + inverse[1, 1] * row + inverse[1, 2]),
        away * (inverse[2, 0] * column + inverse[2, 1] * row + inverse[2, 2]),
    )


def _thin(points: np.ndarray, colors: np.ndarray, facing: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """The index of the point seen most frontally in each voxel that has points, and the voxel's mean colour [M, 3].

    The voxels have a size that gives about `wanted` points, or fewer if there are not as many.
    """
    low, extent = bounds_of(points)
    extent = max(float(extent), 1e-6)
    size = extent / np.sqrt(wanted)
    for _ in range(5):  # the number of voxels on a surface goes with the inverse square of their size
        voxels, _ = voxels_of(points, low, size)
        ratio = (int(voxels.max()) + 1) / wanted
        larger = max(size * min(max(np.sqrt(ratio), 0.25), 4.0), extent * 1e-4)
        if abs(ratio - 1) < _CLOSE or larger == size:
            break
        size = larger
    return _most_frontal(voxels, colors, facing)


@compiled
def _most_frontal(voxels: np.ndarray, colors: np.ndarray, facing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = voxels.max() + 1
    chosen, amounts = np.full(count, -1, np.int64), np.zeros(count, np.float32)
    sums = np.zeros((count, 3), np.float32)
    for i in range(len(voxels)):
        voxel = voxels[i]
        if chosen[voxel] < 0 or facing[i] > facing[chosen[voxel]]:
            chosen[voxel] = i
        amounts[voxel] += 1
        for channel in range(3):
            sums[voxel, channel] += colors[i, channel]
    for voxel in range(count):
        for channel in range(3):
            sums[voxel, channel] /= amounts[voxel] * np.float32(255)
    return chosen, sums

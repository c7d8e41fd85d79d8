"""Make the Gaussians that a fit starts with: on the surface that the depth shows, and at random in the visual hull.

The share of Gaussians in the hull is the share of the object's pixels whose depth is not known.
"""

from __future__ import annotations

import numpy as np

from stages.artifacts.splat import SH_ZERO, Splat
from stages.contract.stage import StageError
from stages.fitting.photos import Photos
from stages.fitting.points import farthest_first, neighbour_distances

_FAINTEST = 25  # alpha of a pixel that may show a surface
_EDGE = 8  # a pixel whose alpha is lower than a neighbour's by more than this is at the object's edge
_BOUND = 1.05  # the object is within this radius
_BEND = 4.0  # pixel footprints that the depth of a smooth surface may bend over three pixels
_CANDIDATES = 6  # points per Gaussian, before the farthest are chosen
_INSET = 0.5  # pixel footprints that a point is put below the surface, because drawing blurs beyond the surface
_ENOUGH = 16  # surface points; with fewer, depth is not used
_COLOR_WEIGHT = 0.3  # weight of a distance in colour beside one in space: more Gaussians where the colour changes
_THICKNESS = 0.05  # of a flat Gaussian, relative to its width
_WIDTH = 0.6  # of a Gaussian, relative to the distance to its neighbours
_SMALLEST, _LARGEST = 3e-4, 0.3  # scales at the start, in radii of the unit sphere
_OPACITY, _FAINT_OPACITY = 0.7, 0.2  # at the start, on a surface and in the hull
_COLOR_MARGIN = 0.02


def start_from(photos: Photos, count: int, seed: int) -> Splat:
    """Make at most `count` Gaussians for these training views; raise StageError if they show nothing."""
    if not (photos.colors[..., 3] > 0).any():
        raise StageError("empty_views", "no training view shows the object: expected some pixels with alpha above 0")
    points, normals, colors = _surface(photos, count)
    covered = photos.colors[..., 3] > 0
    unseen = _without_depth(photos)
    if len(points) < _ENOUGH:
        points, normals, colors = points[:0], normals[:0], colors[:0]
        unseen = covered
    share = round(count * int(unseen.sum()) / int(covered.sum()))
    inside, shades = _inside_hull(photos, unseen, share, np.random.default_rng(seed))
    if len(points) > count - len(inside):
        weighted = np.concatenate([points, colors * np.float32(_COLOR_WEIGHT)], axis=1)
        chosen = farthest_first(weighted, count - len(inside))
        points, normals, colors = points[chosen], normals[chosen], colors[chosen]
    if len(points) + len(inside) == 0:
        raise StageError("no_hull", "the training views have no common visual hull: do their cameras fit their images?")
    return gaussians_at(
        np.concatenate([points, inside]),
        np.concatenate([normals, np.zeros_like(inside)]),
        np.concatenate([colors, shades]),
    )


def _without_depth(photos: Photos) -> np.ndarray:
    """[V, H, W] bool: pixels of the object whose depth is not known, such as glass in front of nothing."""
    alpha = photos.colors[..., 3]
    rim = _most_around(255 - alpha) == 255
    return (alpha >= _FAINTEST) & ~rim & ~(np.nan_to_num(photos.depths) > 0)


def gaussians_at(points: np.ndarray, normals: np.ndarray, colors: np.ndarray) -> Splat:
    """Make Gaussians at points [N, 3]: flat across their normals [N, 3], round and faint where a normal is zero."""
    distances = neighbour_distances(np.ascontiguousarray(points, np.float32))
    distances = np.where(np.isfinite(distances), distances, _LARGEST)
    width = np.clip(distances * _WIDTH, _SMALLEST, _LARGEST).astype(np.float32)
    known = np.linalg.norm(normals, axis=1) > 0.5
    thickness = np.where(known, np.maximum(width * _THICKNESS, _SMALLEST), width)
    # the shortest rotation that takes z to the normal; for -z itself, half a turn about x
    quaternions = np.stack([1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(len(points))], axis=1)
    quaternions[normals[:, 2] < -0.9999] = (0, 1, 0, 0)
    quaternions[~known] = (1, 0, 0, 0)
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    opacities = np.where(known, _OPACITY, _FAINT_OPACITY)
    kept = np.clip(colors, _COLOR_MARGIN, 1 - _COLOR_MARGIN)
    return Splat(
        means=points.astype(np.float32),
        log_scales=np.log(np.stack([width, width, thickness], axis=1)).astype(np.float32),
        quaternions=quaternions.astype(np.float32),
        opacity_logits=np.log(opacities / (1 - opacities)).astype(np.float32),
        sh=((kept - 0.5) / SH_ZERO).astype(np.float32)[:, None],
    )


def _surface(photos: Photos, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, normals and colours [M, 3] of the surface; about _CANDIDATES x count of them, or fewer."""
    found = [_view_surface(photos, view) for view in range(len(photos))]
    points, normals, colors, facing = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if len(points) == 0:
        return points, normals, colors
    representative, colors = _thin(points, colors, facing, count * _CANDIDATES)
    points, normals = points[representative], normals[representative]
    kept = seen_inside(points, photos)
    if kept.sum() < _ENOUGH:  # the views contradict each other, as with a sheet that is culled from behind
        kept = np.linalg.norm(points, axis=1) < _BOUND
    return points[kept], normals[kept], colors[kept]


def _most_around(images: np.ndarray) -> np.ndarray:
    """[..., H, W]: the largest of each pixel and its eight neighbours."""
    edge = [(0, 0)] * (images.ndim - 2) + [(1, 1), (1, 1)]
    rows = np.pad(images, edge)
    rows = np.maximum(np.maximum(rows[..., :-2, :], rows[..., 1:-1, :]), rows[..., 2:, :])
    return np.maximum(np.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])


def _view_surface(photos: Photos, view: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, normals, colours [M, 3] and cosines [M] towards the camera of one view's smooth, opaque pixels."""
    depth = photos.depths[view]
    known = np.isfinite(depth) & (depth > 0)
    alpha = photos.colors[view, ..., 3].astype(np.int32)
    depth = np.where(known, depth, 0).astype(np.float64)
    height, width = depth.shape
    if height < 3 or width < 3:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    inner = (slice(1, -1), slice(1, -1))
    left, right, up, down = depth[1:-1, :-2], depth[1:-1, 2:], depth[:-2, 1:-1], depth[2:, 1:-1]
    footprint = depth[inner] / photos.intrinsics[view, 0, 0]
    smooth = known[inner] & (alpha[inner] >= np.maximum(_most_around(alpha)[inner] - _EDGE, _FAINTEST))
    smooth &= (left > 0) & (right > 0) & (up > 0) & (down > 0)
    bend = np.maximum(abs(left + right - 2 * depth[inner]), abs(up + down - 2 * depth[inner]))
    smooth &= bend < _BEND * footprint
    y, x = np.nonzero(smooth)
    y, x = y + 1, x + 1
    rays = np.linalg.inv(photos.intrinsics[view].astype(np.float64)).T

    def unproject(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        return np.stack([column + 0.5, row + 0.5, np.ones(len(row))], axis=1) @ rays * depth[row, column][:, None]

    here = unproject(y, x)  # the normal points away from the camera
    normal = np.cross(unproject(y, x + 1) - unproject(y, x - 1), unproject(y + 1, x) - unproject(y - 1, x))
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    facing = abs((normal * here).sum(1)) / np.maximum(np.linalg.norm(here, axis=1), 1e-12)
    here += normal * (_INSET * depth[y, x] / photos.intrinsics[view, 0, 0])[:, None]
    rotation, shift = photos.world_to_camera[view, :3, :3].astype(np.float64), photos.world_to_camera[view, :3, 3]
    colors = photos.colors[view, y, x, :3] / 255.0
    return (here - shift) @ rotation, normal @ rotation, colors, facing


def _thin(points: np.ndarray, colors: np.ndarray, facing: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """The index of the point seen most frontally in each voxel that has points, and the voxel's mean colour [M, 3].

    The voxels have a size that gives about `wanted` points, or fewer if there are not as many.
    """
    low = points.min(0)
    extent = max(float((points - low.astype(points.dtype)).max()), 1e-6)
    size = extent / np.sqrt(wanted)
    for _ in range(4):  # the number of voxels on a surface goes with the inverse square of their size
        cells = _cells(points, low, size)
        taken = len(np.unique(cells))
        size = max(size * min(max(np.sqrt(taken / wanted), 0.25), 4.0), extent * 1e-4)
    cells = _cells(points, low, size)
    order = np.lexsort((-facing, cells))
    _, first, inverse = np.unique(cells[order], return_index=True, return_inverse=True)
    amounts = np.bincount(inverse)
    means = np.stack([np.bincount(inverse, colors[order, channel]) / amounts for channel in range(3)], axis=1)
    return order[first], means


def _cells(points: np.ndarray, low: np.ndarray, size: float) -> np.ndarray:
    cell = ((points - low) / size).astype(np.int64)
    return (cell[:, 0] << 40) | (cell[:, 1] << 20) | cell[:, 2]


def seen_inside(points: np.ndarray, photos: Photos) -> np.ndarray:
    """[M] bool: whether points [M, 3] are in the unit sphere, and every view shows the object where it sees them.

    A pixel's neighbours count as the pixel, because every point of a surface is at the rim of some view. Views that
    show nothing at all are left out: an object that is shown from one side only has such views.
    """
    inside = np.linalg.norm(points, axis=1) < _BOUND
    height, width = photos.colors.shape[1:3]
    covered = _most_around(photos.colors[..., 3]) > 0
    for view in np.flatnonzero(covered.any((1, 2))):
        camera = photos.world_to_camera[view].astype(np.float64)
        seen = (points @ camera[:3, :3].T + camera[:3, 3]) @ photos.intrinsics[view].astype(np.float64).T
        in_front = seen[:, 2] > 1e-6
        x, y = (np.floor(seen[:, k] / np.where(in_front, seen[:, 2], 1)) for k in range(2))
        within = in_front & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        inside &= ~within | covered[view, np.where(within, y, 0).astype(int), np.where(within, x, 0).astype(int)]
    return inside


def _inside_hull(
    photos: Photos, pixels_of: np.ndarray, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Up to `count` points and colours [M, 3], at random depths behind some pixels and within the visual hull."""
    if count == 0:
        return np.zeros((0, 3)), np.zeros((0, 3))
    view, y, x = np.nonzero(pixels_of)
    inverse = np.linalg.inv(photos.intrinsics.astype(np.float64))
    to_world = np.linalg.inv(photos.world_to_camera.astype(np.float64))
    points, colors, found = [], [], 0
    for _ in range(16):
        pick = random.integers(len(view), size=4 * count)
        v = view[pick]
        pixels = np.stack(
            [x[pick] + random.random(len(pick)), y[pick] + random.random(len(pick)), np.ones(len(pick))], 1
        )
        rays = np.einsum("nij,nj->ni", inverse[v], pixels)
        rays = np.einsum("nij,nj->ni", to_world[v, :3, :3], rays)
        origin = to_world[v, :3, 3]
        length = np.linalg.norm(rays, axis=1)
        middle = -(rays * origin).sum(1) / length**2  # the ray's point nearest to the sphere's centre
        nearest = np.linalg.norm(origin + rays * middle[:, None], axis=1)
        reach = np.sqrt(np.maximum(1 - nearest**2, 0)) / length
        at = origin + rays * (middle + reach * random.uniform(-1, 1, len(pick)))[:, None]
        kept = seen_inside(at, photos) & (middle > 0)
        points.append(at[kept])
        colors.append(photos.colors[v, y[pick], x[pick], :3][kept] / 255.0)
        found += int(kept.sum())
        if found >= count:
            break
    return np.concatenate(points)[:count], np.concatenate(colors)[:count]

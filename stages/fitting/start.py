"""Make the Gaussians that a fit starts with: on the surface that the depth shows, and at random in the visual hull.

The share of Gaussians in the hull is the share of the object's pixels whose depth is not known.
"""

from __future__ import annotations

import numpy as np

from stages.artifacts.splat import SH_ZERO, Splat
from stages.common.compiled import compiled
from stages.contract.stage import StageError
from stages.fitting.photos import Photos
from stages.fitting.points import neighbour_distances
from stages.fitting.sampling import farthest_first
from stages.fitting.surface import alphas_around, count_covered, surface_points, without_depth

_BOUND = 1.05  # the object is within this radius
_CANDIDATES = 6  # points per Gaussian, before the farthest are chosen
_ENOUGH = 16  # surface points; with fewer, depth is not used
_COLOR_WEIGHT = 0.3  # weight of a distance in colour beside one in space: more Gaussians where the colour changes
_THICKNESS = 0.05  # of a flat Gaussian, relative to its width
_WIDTH = 0.6  # of a Gaussian, relative to the distance to its neighbours
_SMALLEST, _LARGEST = 3e-4, 0.3  # scales at the start, in radii of the unit sphere
_OPACITY, _FAINT_OPACITY = 0.7, 0.2  # at the start, on a surface and in the hull
_COLOR_MARGIN = 0.02


def start_from(photos: Photos, count: int, seed: int) -> Splat:
    """Make at most `count` Gaussians for these training views; raise StageError if they show nothing."""
    covered = int(count_covered(photos.colors).sum())
    if not covered:
        raise StageError("empty_views", "no training view shows the object: expected some pixels with alpha above 0")
    points, normals, colors = _surface(photos, count)
    unseen = without_depth(photos)
    if len(points) < _ENOUGH:
        points, normals, colors = points[:0], normals[:0], colors[:0]
        unseen = photos.colors[..., 3] > 0
    share = round(count * np.count_nonzero(unseen) / covered)
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


def compile_start() -> None:
    """Make a tiny start, so that numba compiles what it needs now, and not while a row is timed."""
    size = 16
    lens = np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]], np.float32)
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 3  # from the origin to the camera
    depths = np.full((1, size, size), 3, np.float32)
    depths[:, 2:6, 2:6] = 0  # glass
    start_from(Photos(np.full((1, size, size, 4), 255, np.uint8), depths, lens[None], pose[None]), 32, 0)


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
    points, normals, colors = surface_points(photos, count * _CANDIDATES)
    kept = seen_inside(points, photos)
    if kept.sum() < _ENOUGH:  # the views contradict each other, as with a sheet that is culled from behind
        kept = np.linalg.norm(points, axis=1) < _BOUND
    return points[kept], normals[kept], colors[kept]


def seen_inside(points: np.ndarray, photos: Photos) -> np.ndarray:
    """[M] bool: whether points [M, 3] are in the unit sphere, and every view shows the object where it sees them.

    A pixel's neighbours count as the pixel, because every point of a surface is at the rim of some view. Views that
    show nothing at all are left out: an object that is shown from one side only has such views.
    """
    inside = np.linalg.norm(points, axis=1) < _BOUND
    poses, lenses = photos.world_to_camera.astype(np.float64), photos.intrinsics.astype(np.float64)
    for view in np.flatnonzero(count_covered(photos.colors)):
        _clear_unseen(inside, points, photos.colors[view], lenses[view] @ poses[view, :3])
    return inside


@compiled
def _clear_unseen(inside: np.ndarray, points: np.ndarray, image: np.ndarray, camera: np.ndarray) -> None:
    """Set `inside` to False for points where a view shows no object; camera [3, 4] projects to pixels."""
    height, width = image.shape[:2]
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        depth = camera[2, 0] * x + camera[2, 1] * y + camera[2, 2] * z + camera[2, 3]
        if inside[i] and depth > 1e-6:
            column = (camera[0, 0] * x + camera[0, 1] * y + camera[0, 2] * z + camera[0, 3]) / depth
            row = (camera[1, 0] * x + camera[1, 1] * y + camera[1, 2] * z + camera[1, 3]) / depth
            if 0 <= column < width and 0 <= row < height:
                at = int(row), int(column)
                inside[i] = image[at[0], at[1], 3] > 0 or alphas_around(image, at[0], at[1])[1] > 0


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

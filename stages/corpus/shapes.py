"""Make the solids that categories are built from: boxes, solids of revolution, tubes and extruded outlines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from stages.corpus.solid import Solid

SMOOTH = np.cos(np.radians(50.0))  # neighbouring facets share a normal when they turn by less than this


@cache
def _box_template() -> tuple[np.ndarray, ...]:
    """A cube whose faces are 3 x 3 quads: the middle one flat, the others the bevel.

    signs [96, 3]: the corner of the inner box; outward [96, 3]: from there to the surface; axes [96]: which face.
    """
    lines = np.array([-1.0, -1.0, 1.0, 1.0])  # corner of the inner box along one face axis
    bends = np.array([-1.0, 0.0, 0.0, 1.0])  # how far the direction leans to that side
    signs, outward, axes, faces = [], [], [], []
    for axis in range(3):
        for side in (-1.0, 1.0):
            across, up = ((1, 2), (2, 0), (0, 1))[axis]
            for i in range(4):
                for j in range(4):
                    sign, lean = np.empty(3), np.zeros(3)
                    sign[axis], sign[across], sign[up] = side, lines[i], lines[j]
                    lean[axis], lean[across], lean[up] = side, bends[i], bends[j]
                    signs.append(sign)
                    outward.append(lean / np.linalg.norm(lean))
                    axes.append(axis)
            base = len(signs) - 16
            for i in range(3):
                for j in range(3):
                    a, b, c, d = (base + 4 * p + q for p, q in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)))
                    faces += [(a, b, c), (a, c, d)] if side > 0 else [(a, c, b), (a, d, c)]
    return np.array(signs), np.array(outward), np.array(axes), np.array(faces)


def box(width: float, height: float, depth: float, bevel: float = 0.02) -> Solid:
    """A box around the origin: width along x, height along y, depth along z, with edges rounded by `bevel`."""
    signs, outward, axes, faces = _box_template()
    half = np.array([width, height, depth]) / 2
    bevel = min(bevel, 0.45 * 2 * half.min())
    points = signs * (half - bevel) + outward * bevel
    uvs = np.where(
        (axes == 0)[:, None], points[:, [2, 1]], np.where((axes == 1)[:, None], points[:, [0, 2]], points[:, [0, 1]])
    )
    return Solid(points, outward, uvs, faces)


def lathe(profile: Sequence[tuple[float, float]], sides: int = 28) -> Solid:
    """Turn a profile of (radius, y) about the y axis.

    The profile runs up the outside. It begins and ends on the axis, or ends where it began, which makes a ring. Slight
    bends are shaded smooth; at sharp ones the facets keep their own normals.
    """
    line = np.array(profile, float)  # [P, 2]
    step = np.diff(line, axis=0)
    length = np.linalg.norm(step, axis=1)
    keep = length > 1e-9
    starts, ends = line[:-1][keep], line[1:][keep]
    step, length = step[keep], length[keep]
    flat = np.stack([step[:, 1], -step[:, 0]], 1) / length[:, None]  # [S, 2] outward in (radius, y)
    first, last = flat.copy(), flat.copy()
    smooth = np.einsum("ij,ij->i", flat[:-1], flat[1:]) > SMOOTH
    mean = flat[:-1] + flat[1:]
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
    last[:-1][smooth] = mean[smooth]
    first[1:][smooth] = mean[smooth]

    angle = np.linspace(0.0, 2 * np.pi, sides + 1)
    circle = np.stack([np.sin(angle), np.cos(angle)], 1)  # x, z: counter-clockwise seen from above
    rings = np.stack([starts, ends], 1).reshape(-1, 2)  # [2S, 2]
    bends = np.stack([first, last], 1).reshape(-1, 2)
    run = np.concatenate([[0.0], np.cumsum(length)])
    heights = np.stack([run[:-1], run[1:]], 1).reshape(-1)
    around = 2 * np.pi * max(line[:, 0].max(), 1e-6)
    count = sides + 1

    def sweep(pairs: np.ndarray) -> np.ndarray:
        spun = np.empty((len(pairs), count, 3))
        spun[..., 0] = pairs[:, :1] * circle[:, 0]
        spun[..., 1] = pairs[:, 1:]
        spun[..., 2] = pairs[:, :1] * circle[:, 1]
        return spun.reshape(-1, 3)

    uvs = np.stack(np.broadcast_arrays(angle * around / (2 * np.pi), heights[:, None]), -1).reshape(-1, 2)
    low = (np.arange(len(starts)) * 2 * count)[:, None] + np.arange(sides)  # [S, sides]
    high = low + count
    wide_low, wide_high = starts[:, 0] > 1e-9, ends[:, 0] > 1e-9  # a ring on the axis has no triangle of its own
    lower = np.stack([low, low + 1, high + 1], -1)[wide_low].reshape(-1, 3)
    upper = np.stack([low, high + 1, high], -1)[wide_high].reshape(-1, 3)
    return Solid(sweep(rings), sweep(bends), uvs, np.concatenate([lower, upper]), around)


def cylinder(radius: float, height: float, top: float | None = None, bevel: float = 0.015, sides: int = 28) -> Solid:
    """A cylinder on y = 0; `top` is the radius at the top, if it differs (0 makes a cone)."""
    above = radius if top is None else top
    small = min(bevel, height * 0.3, radius * 0.4)
    upper = min(small, above * 0.4)
    profile = [(0.0, 0.0), (radius - small, 0.0), (radius, small)]
    profile += [(above, height - upper), (above - upper, height), (0.0, height)] if above > 0 else [(0.0, height)]
    return lathe(profile, sides)


def ball(radius: float, sides: int = 28, rings: int = 14) -> Solid:
    """A sphere about the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    radii = radius * np.cos(angle)
    radii[[0, -1]] = 0.0
    return lathe(list(zip(radii, radius * np.sin(angle), strict=True)), sides)


def dome(radius: float, height: float, sides: int = 28, rings: int = 8) -> Solid:
    """The upper half of an ellipsoid, standing on y = 0."""
    angle = np.linspace(0.0, np.pi / 2, rings + 1)
    curve = [(radius * np.cos(a), height * np.sin(a)) for a in angle[:-1]]
    return lathe([(0.0, 0.0), *curve, (0.0, height)], sides)


def ring(radius: float, thickness: float, sides: int = 28, rings: int = 12) -> Solid:
    """A torus about the y axis; `thickness` is the radius of its tube."""
    angle = np.linspace(0.0, 2 * np.pi, sides, endpoint=False)
    path = np.stack([radius * np.sin(angle), np.zeros(sides), radius * np.cos(angle)], 1)
    return tube(path, thickness, sides=rings, closed=True)


def _frames(path: np.ndarray, closed: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tangent, right and up [P, 3] along a path, without twist."""
    if closed:
        tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    else:
        tangent = np.gradient(path, axis=0)
    tangent = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
    up = np.zeros_like(path)
    guess = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    for index, direction in enumerate(tangent):
        side = guess - direction * (guess @ direction)
        guess = up[index] = side / np.sqrt(side @ side)
    return tangent, np.cross(up, tangent), up


def tube(
    path: Sequence[Sequence[float]] | np.ndarray,
    radius: float | Sequence[float] | np.ndarray,
    sides: int = 12,
    closed: bool = False,
) -> Solid:
    """A round tube along points [P, 3], with flat ends unless closed. A closed path should lie in a plane."""
    path = np.asarray(path, float)
    radii = np.broadcast_to(np.asarray(radius, float), len(path))
    tangent, right, up = _frames(path, closed)
    angle = np.linspace(0.0, 2 * np.pi, sides + 1)
    # [P, sides + 1, 3]
    normals = np.cos(angle)[None, :, None] * right[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    points = path[:, None] + radii[:, None, None] * normals
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    around = 2 * np.pi * float(radii.max())
    if closed:
        points, normals = np.concatenate([points, points[:1]]), np.concatenate([normals, normals[:1]])
        run = np.append(run, run[-1] + np.linalg.norm(path[0] - path[-1]))
    uvs = np.stack(np.broadcast_arrays(angle * around / (2 * np.pi), run[:, None]), -1)
    rows, count = len(points), sides + 1
    low = (np.arange(rows - 1) * count)[:, None] + np.arange(sides)
    high = low + count
    faces = np.concatenate([np.stack([low, low + 1, high + 1], -1), np.stack([low, high + 1, high], -1)]).reshape(-1, 3)
    solid = Solid(points.reshape(-1, 3), normals.reshape(-1, 3), uvs.reshape(-1, 2), faces, around)
    if closed:
        return Solid(solid.points, solid.normals, solid.uvs[:, ::-1].copy(), faces, float(run[-1]))
    return _capped(solid, path, points, tangent)


def _capped(solid: Solid, path: np.ndarray, points: np.ndarray, tangent: np.ndarray) -> Solid:
    """Close an open tube with a disc at each end."""
    sides = points.shape[1] - 1
    parts, faces = [solid.points], [solid.faces]
    normals, uvs = [solid.normals], [solid.uvs]
    base = len(solid.points)
    for end, direction in ((0, -tangent[0]), (-1, tangent[-1])):
        rim = points[end][:sides]
        parts += [rim, path[end][None]]
        normals.append(np.broadcast_to(direction, (sides + 1, 3)))
        uvs.append(np.zeros((sides + 1, 2)))
        here, after = base + np.arange(sides), base + (np.arange(sides) + 1) % sides
        centre = np.full(sides, base + sides)
        faces.append(np.stack([centre, after, here] if end == 0 else [centre, here, after], 1))
        base += sides + 1
    points, normal, uv, face = (np.concatenate(each) for each in (parts, normals, uvs, faces))
    return Solid(points, normal, uv, face, solid.around)


def prism(outline: Sequence[tuple[float, float]], depth: float) -> Solid:
    """A simple polygon in x, y, counter-clockwise, extruded along z and centred on it."""
    flat = np.array(outline, float)  # [P, 2]
    count = len(flat)
    cap = np.array(_triangles(flat))
    front = np.column_stack([flat, np.full(count, depth / 2)])
    back = np.column_stack([flat, np.full(count, -depth / 2)])
    after = np.roll(flat, -1, 0)
    edge = after - flat
    length = np.linalg.norm(edge, axis=1, keepdims=True)
    out = np.stack([edge[:, 1], -edge[:, 0]], 1) / length  # [P, 2] of the side that starts at each corner
    before = np.roll(out, 1, 0)
    smooth = (np.einsum("ij,ij->i", out, before) > SMOOTH)[:, None]
    mean = out + before
    mean = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
    starts = np.where(smooth, mean, out)
    ends = np.where(np.roll(smooth, -1, 0), np.roll(mean, -1, 0), out)
    points = np.concatenate([front, back, front, np.roll(front, -1, 0), np.roll(back, -1, 0), back])
    side_normals = [np.column_stack([each, np.zeros(count)]) for each in (starts, ends, ends, starts)]
    facing = np.broadcast_to((0.0, 0.0, 1.0), (count, 3))
    normals = np.concatenate([facing, -facing, *side_normals])
    run = np.concatenate([[0.0], np.cumsum(length)])
    uvs = [flat, flat]
    for along, z in ((run[:-1], 0.5), (run[1:], 0.5), (run[1:], -0.5), (run[:-1], -0.5)):
        uvs.append(np.column_stack([along, np.full(count, z * depth)]))
    a, b, c, d = (count * part + np.arange(count) for part in (2, 3, 4, 5))
    sides = np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)])
    return Solid(points, normals, np.concatenate(uvs), np.concatenate([cap, cap[:, ::-1] + count, sides]))


def _triangles(flat: np.ndarray) -> list[tuple[int, int, int]]:
    """Ear clipping of a simple counter-clockwise polygon [P, 2]."""
    corners = [(float(x), float(y)) for x, y in flat]
    left = list(range(len(corners)))
    found = []

    def turn(a: int, b: int, c: int) -> float:
        (ax, ay), (bx, by), (cx, cy) = corners[a], corners[b], corners[c]
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    while len(left) > 3:
        for index, b in enumerate(left):
            a, c = left[index - 1], left[(index + 1) % len(left)]
            if turn(a, b, c) <= 1e-12:
                continue
            others = (p for p in left if p not in (a, b, c))
            if not any(turn(a, b, p) >= 0 and turn(b, c, p) >= 0 and turn(c, a, p) >= 0 for p in others):
                found.append((a, b, c))
                left.remove(b)
                break
        else:
            raise ValueError("the outline crosses itself or runs clockwise; expected a counter-clockwise polygon")
    return [*found, (left[0], left[1], left[2])]


def star(points: int, outer: float, inner: float) -> list[tuple[float, float]]:
    """A star's outline, one point up."""
    radii = [outer, inner] * points
    turns = [np.pi / 2 + np.pi * index / points for index in range(2 * points)]
    return [(radius * np.cos(turn), radius * np.sin(turn)) for radius, turn in zip(radii, turns, strict=True)]


def arc(
    radius: float, start_degrees: float, end_degrees: float, count: int = 12, centre: tuple[float, float] = (0.0, 0.0)
) -> list[tuple[float, float]]:
    """Points on a circle in a plane, counter-clockwise where the end is larger."""
    turns = np.radians(np.linspace(start_degrees, end_degrees, count))
    return [(centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)) for turn in turns]

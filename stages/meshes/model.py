"""A mesh as it is drawn: triangles with everything baked in, grouped by the little that cannot be.

Readers of every format produce a Model; the drawing knows nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stages.contract.stage import StageError

# linear factor of what has no colour in a format that says nothing of it: a light grey, so that white ground shows it
UNPAINTED = (0.55, 0.55, 0.55, 1.0)
_MOST_WARNINGS = 100
_FARTHEST = 1e13  # radii from the origin; float64 has three digits left there


@dataclass(frozen=True)
class Limits:
    """What a mesh may ask for; checked against its claims, before memory is taken."""

    max_faces: int = 5_000_000
    max_vertices: int = 5_000_000
    max_texture_pixels: int = 1 << 27  # of all textures together
    max_nodes: int = 100_000

    def check(self, what: str, count: int) -> None:
        limit = getattr(self, f"max_{what}")
        if count > limit:
            raise StageError("too_large", f"{count:,} {what.replace('_', ' ')}; max_{what} is {limit:,}")


@dataclass(frozen=True, eq=False)
class Texture:
    """An image and how it is sampled; v = 0 is its first row."""

    pixels: np.ndarray  # [H, W, 4] uint8, sRGB, straight alpha
    wrap: tuple[int, int] = (10497, 10497)  # GL names, as glTF has them: REPEAT
    magnify: int = 9729  # LINEAR
    minify: int = 9987  # LINEAR_MIPMAP_LINEAR


@dataclass(frozen=True)
class Material:
    """What parts must share to be drawn together. Factors are baked into the vertices."""

    color_texture: Texture | None = None
    emission_texture: Texture | None = None
    unlit: bool = False
    alpha: str = "OPAQUE"  # or MASK, BLEND
    cutoff: float = 0.5
    double_sided: bool = True


@dataclass(frozen=True)
class Part:
    """N vertices and F triangles of one material, in the frame of the whole object."""

    positions: np.ndarray  # [N, 3] float64
    normals: np.ndarray  # [N, 3] float32; 0 where unknown, the face's own is then taken
    uv: np.ndarray  # [N, 4] float32: of the colour texture, of the emission texture
    colors: np.ndarray  # [N, 4] float32, linear: factor times vertex colour, straight alpha
    emission: np.ndarray  # [N, 3] float32, linear
    faces: np.ndarray  # [F, 3] uint32, counter-clockwise from the front
    material: Material


@dataclass
class Model:
    parts: list[Part] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        if len(self.warnings) < _MOST_WARNINGS and text not in self.warnings:
            self.warnings.append(text)

    @property
    def faces(self) -> int:
        return sum(len(part.faces) for part in self.parts)

    @property
    def vertices(self) -> int:
        return sum(len(part.positions) for part in self.parts)


def part(
    positions: np.ndarray,
    faces: np.ndarray,
    material: Material,
    *,
    normals: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    colors: np.ndarray | None = None,
    factor: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
    emission: tuple[float, ...] = (0.0, 0.0, 0.0),
) -> Part:
    """A part with its missing attributes filled in, its indices and coordinates checked."""
    count = len(positions)
    faces = faces.reshape(-1, 3)
    if len(faces) and (faces.min() < 0 or faces.max() >= count):
        raise StageError("corrupt_file", f"a face names vertex {int(faces.max()):,} of {count:,}")
    wanted = (("positions", positions, 3), ("normals", normals, 3), ("uv", uv, 4), ("colours", colors, 4))
    for name, values, width in wanted:
        if values is not None and values.shape != (count, width):
            raise StageError("corrupt_file", f"{name} of shape {values.shape}; {(count, width)} would be right")
    painted = np.broadcast_to(np.asarray(factor, np.float32), (count, 4))
    if colors is not None:
        painted = painted * colors
    return Part(
        positions=np.asarray(positions, np.float64),
        normals=np.zeros((count, 3), np.float32) if normals is None else np.asarray(normals, np.float32),
        uv=np.zeros((count, 4), np.float32) if uv is None else uv,
        colors=np.ascontiguousarray(painted, np.float32),
        emission=np.broadcast_to(np.asarray(emission, np.float32), (count, 3)),
        faces=faces.astype(np.uint32),
        material=material,
    )


def srgb_colors(values: np.ndarray) -> np.ndarray:
    """[N, 4] float32 linear, from [N, 3 or 4] display colours: integers of their type's range, or 0..1, or 0..255."""
    values = np.asarray(values)
    scale = 1.0
    if values.dtype.kind in "iu":
        scale = 65535.0 if values.dtype.itemsize == 2 and values.max(initial=0) > 255 else 255.0
    elif values.max(initial=0) > 2:  # a little over 1 is light that was reckoned, not a byte
        scale = 255.0
    values = np.nan_to_num(values.astype(np.float32) / scale, nan=1.0, posinf=1.0, neginf=0.0)
    alpha = values[:, 3:4] if values.shape[1] > 3 and values[:, 3].any() else np.ones((len(values), 1), np.float32)
    return np.hstack([linear_of_srgb(values[:, :3]), np.clip(alpha, 0, 1)])


def linear_of_srgb(values: np.ndarray) -> np.ndarray:
    """Light of colours as they are written on a display; both in 0..1."""
    values = np.clip(np.asarray(values, np.float32), 0, 1)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def normalization(model: Model, up: str) -> np.ndarray:
    """[4, 4] float64: turns y up, centres the bounding box, and scales the farthest drawn vertex to distance 1."""
    turn = np.eye(3) if up == "y" else np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    drawn = [_corners(part) @ turn.T for part in model.parts if len(part.faces)]
    if not drawn:
        raise StageError("no_faces", "the mesh has no triangles to draw")
    for points in drawn:
        if not np.isfinite(points).all():
            raise StageError(
                "bad_coordinates", f"{int((~np.isfinite(points)).any(1).sum()):,} vertices are NaN or infinite"
            )
    low = np.min([points.min(0) for points in drawn], axis=0)
    high = np.max([points.max(0) for points in drawn], axis=0)
    centre = low + (high - low) / 2  # low + high could overflow
    with np.errstate(over="ignore"):
        radius = max(float(np.sqrt(((points - centre) ** 2).sum(1).max())) for points in drawn)
    if not np.isfinite(radius):
        raise StageError(
            "bad_coordinates", f"an extent of {float((high - low).max()):.3g} is too large to compute with"
        )
    if not radius > 1e-30:
        raise StageError("empty_scene", "all vertices lie in one point")
    matrix = np.eye(4)
    matrix[:3, :3] = turn / radius
    with np.errstate(over="ignore"):
        matrix[:3, 3] = -centre / radius
    if not np.abs(matrix[:3, 3]).max() < _FARTHEST:
        raise StageError(
            "bad_coordinates",
            f"a mesh of radius {radius:.3g}, {np.abs(centre).max():.3g} away from the origin, has lost its shape",
        )
    return matrix


def _corners(part: Part) -> np.ndarray:
    """[M, 3]: the vertices that faces use; others are never seen."""
    used = np.zeros(len(part.positions), bool)
    used[part.faces] = True
    return part.positions[used]

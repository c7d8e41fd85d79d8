"""What every format is read into: triangles with their attributes and materials, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.colors import WHITE

_MOST_WARNINGS = 100


@dataclass(frozen=True)
class Limits:
    """The largest mesh that is read; checked against what a file declares, before memory is taken."""

    max_faces: int = 5_000_000
    max_vertices: int = 5_000_000
    max_texture_pixels: int = 1 << 27  # of all textures together
    max_nodes: int = 100_000

    def check(self, what: str, count: int, things: str = "") -> None:
        """Refuse more than max_{what}. things: what is counted, if its name is another."""
        limit = getattr(self, f"max_{what}")
        if count > limit:
            things = things or what.replace("_", " ")
            raise StageError("too_large", f"the mesh has {count:,} {things}; max_{what} is {limit:,}")


@dataclass(frozen=True, eq=False)
class Texture:
    """An image and how it is sampled; v = 0 is its first row."""

    pixels: np.ndarray  # [H, W, 4] uint8, sRGB, straight alpha
    wrap: tuple[int, int] = (10497, 10497)  # GL names, as glTF has them: REPEAT
    magnify: int = 9729  # LINEAR
    minify: int = 9987  # LINEAR_MIPMAP_LINEAR


@dataclass(frozen=True)
class Material:
    """How parts are drawn. Factors are baked into the vertices."""

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
    normals: np.ndarray  # [N, 3] float32; where it is 0, the normal of the face is used
    uv: np.ndarray  # [N, 4] float32: of the colour texture, of the emission texture
    colors: np.ndarray  # [N, 4] float32, linear: factor times vertex colour, straight alpha
    emission: np.ndarray  # [N, 3] float32, linear
    faces: np.ndarray  # [F, 3] uint32, counter-clockwise from the front
    material: Material


@dataclass
class Model:
    parts: list[Part] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    y_up: bool = False  # whether the format of its file defines that y is up
    remarks: str = ""  # what its file says in comments

    def warn(self, text: str) -> None:
        if len(self.warnings) < _MOST_WARNINGS and text not in self.warnings:
            self.warnings.append(text)

    @property
    def faces(self) -> int:
        return sum(len(part.faces) for part in self.parts)

    @property
    def vertices(self) -> int:
        return sum(len(part.positions) for part in self.parts)


def make_part(
    positions: np.ndarray,
    faces: np.ndarray,
    material: Material,
    *,
    normals: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    colors: np.ndarray | None = None,
    factor: tuple[float, ...] = WHITE,
    emission: tuple[float, ...] = (0.0, 0.0, 0.0),
) -> Part:
    """Make a part: check indices and shapes, and fill in missing attributes."""
    count = len(positions)
    faces = faces.reshape(-1, 3)
    if len(faces) and (faces.min() < 0 or faces.max() >= count):
        raise StageError("corrupt_file", f"a face uses vertex {int(faces.max()):,}, but there are {count:,}")
    attributes = (("positions", positions, 3), ("normals", normals, 3), ("uv", uv, 4), ("colours", colors, 4))
    for name, values, width in attributes:
        if values is not None and values.shape != (count, width):
            raise StageError("corrupt_file", f"{name} have the shape {values.shape}, expected {(count, width)}")
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

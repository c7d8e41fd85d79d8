"""Render: square views of one mesh, with depth and cameras.

in:  mesh, mesh_name, format, warnings (from ingest), up ("y", the default for every format, "z" or "auto")
out: views (see stages/artifacts/views.py), view_count, size, faces, vertices, warnings; with `up: auto` also up (the
     axis that was chosen), up_reason and up_sure; with `sides: auto`, of meshes with single-sided surfaces, also sides
     (author or both)

Conventions, light and limits are described in docs/rendering.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NotRequired

import numpy as np
import pyarrow as pa
from pydantic import Field
from typing_extensions import TypedDict

from manifests.dataset import IMAGE, Column
from manifests.outcomes import DamagedFile
from stages.artifacts.views import Views
from stages.contract.schedule import Schedule
from stages.contract.shown import Choice, Shown
from stages.contract.stage import (
    Context,
    DamagedInput,
    Done,
    ReadArtifact,
    Reason,
    Row,
    Stage,
    StageError,
    Work,
    each,
    read_input,
)
from stages.meshes.formats import read_mesh
from stages.meshes.model import Limits, Model
from stages.rendering import cameras, encoding
from stages.rendering.memory import give_back_memory
from stages.rendering.normalization import normalization
from stages.rendering.up_axis import find_up
from stages.rendering.warnings import culled, translucent

if TYPE_CHECKING:
    from stages.rendering.drawing import Renderer

# textures are reduced to eight texels for each pixel of a view, within these bounds
_LEAST_TEXTURE_SIDE, _MOST_TEXTURE_SIDE = 2048, 8192


class RenderOutcome(TypedDict):
    """The columns of an outcome."""

    view_count: int
    size: int
    faces: int
    vertices: int
    warnings: list[str]
    up: NotRequired[str]
    up_reason: NotRequired[str]
    up_sure: NotRequired[bool]
    sides: NotRequired[str]
    views: str


class Render(Stage):
    """Render views of one mesh.  in: mesh   out: views, view_count, size, faces, vertices, warnings"""

    # 2: of coincident faces the last is seen; 3: the sRGB curve, concave polygons, more of MTL and PLY; 4: both sides
    version = 4
    needs = ("ingest",)
    reads = ("up",)
    artifact = "views"
    suffix = ".zip"
    limits: ClassVar[tuple[str, ...]] = ("max_faces", "max_vertices", "max_texture_pixels", "max_nodes")
    environment: ClassVar[dict[str, str]] = {
        "PYOPENGL_PLATFORM": "egl",
        "LP_NUM_THREADS": "0",  # Mesa draws in the worker's own thread, so run as many workers as cores
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }

    outcome: ClassVar[Any] = RenderOutcome
    columns: ClassVar[tuple[Column, ...]] = (
        Column("views", pa.list_(IMAGE), "V PNGs, RGBA 8 bit, straight alpha, sRGB, in camera order"),
        Column("depth", pa.list_(IMAGE), "V PNGs, 16 bit: distance along the camera's axis in steps; 0 = empty"),
        Column("depth_scale", pa.float64(), "length of one depth step, in radii of the unit sphere"),
        Column(
            "intrinsics",
            lambda shape: pa.list_(pa.float32(), shape.views * 9),
            "[V, 3, 3], pixels, pixel centres at +0.5",
        ),
        Column(
            "camera_to_world",
            lambda shape: pa.list_(pa.float32(), shape.views * 16),
            "[V, 4, 4], cameras OpenCV: x right, y down, z forward",
        ),
        Column("normalization", pa.list_(pa.float64(), 16), "[4, 4], source frame to unit sphere (world)"),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("bad_up", "`up` of the source list is not y, z or auto", "write one of them, or leave it empty"),
        Reason(
            "empty_scene",
            "no mesh, or all points at one place",
            "export the mesh again; a default scene without meshes is empty",
        ),
        Reason("no_faces", "only points or lines", "triangulate the object; points and lines are not drawn"),
        Reason(
            "bad_coordinates",
            "coordinates that are NaN, infinite, too large to compute with, or 1e13 radii away",
            "repair the mesh",
        ),
        Reason("bad_texture", "a texture that cannot be decoded", "convert the texture to PNG or JPEG"),
        Reason(
            "corrupt_file", "indices out of range, a cycle of nodes, accessors that do not fit", "export the mesh again"
        ),
        Reason("missing_file", "a glTF buffer without data", "export the mesh again with its buffers"),
        Reason(
            "unsupported",
            "a required glTF extension, or a kind of KTX2; the detail names it",
            "export the mesh without the extension",
        ),
        Reason(
            "too_large",
            "more than `max_faces`, `max_vertices`, `max_texture_pixels` or `max_nodes` allow, or a fixed limit",
            "raise the limit that the detail names, or reduce the mesh",
        ),
        Reason(
            "nothing_visible",
            "no view shows anything: all is transparent, seen from behind, or too thin",
            "check materials and the direction of the faces",
        ),
        Reason(
            "renderer_failed",
            "OpenGL reported an error",
            "check the driver (docs/rendering.md); the next build tries again",
            transient=True,
        ),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=1, batch=4, memory_gb=6, timeout_seconds=180, renew_rows=500)
    shown: ClassVar[Shown] = Shown(views="views", choice=Choice("up", sure="up_sure"))

    views: int = Field(24, ge=1, le=999)
    """Number of views."""
    size: int = Field(128, ge=8, le=4096)
    """Width and height of a view in pixels."""
    cameras: Literal["fibonacci", "orbit"] = "fibonacci"
    """A spiral over the whole sphere, or a circle around the y axis."""
    fov_deg: float = Field(40.0, gt=1, lt=120)
    """Field of view in degrees, horizontally and vertically."""
    elevation_deg: float = Field(20.0, gt=-90, lt=90)
    """Elevation in degrees of the cameras of an orbit."""
    seed: int = Field(0, ge=0)
    """Rotates the spiral about the y axis."""
    samples: int = Field(4, ge=1, le=16)
    """Samples per pixel, against jagged edges."""
    light: Literal["sky", "none"] = "sky"
    """A soft light from above that is fixed to the object, or only the base colours."""
    sides: Literal["author", "both", "auto"] = "auto"
    """Sides of single-sided surfaces that are drawn: the author's, both, or both where culling would leave holes."""
    max_faces: int = Field(5_000_000, gt=0)
    """Largest number of triangles of one mesh, with all instances."""
    max_vertices: int = Field(5_000_000, gt=0)
    """Largest number of vertices of one mesh, with all instances."""
    max_texture_pixels: int = Field(1 << 27, gt=0)
    """Largest number of pixels of all textures of one mesh."""
    max_nodes: int = Field(100_000, gt=0)
    """Largest number of nodes of one scene, of parts of one mesh, and of materials in its libraries."""

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        """`metadata` says which axis `up: auto` has chosen, and why, and where `sides: auto` has drawn both sides."""
        views = artifact(Views.from_bytes)
        cameras = ("depth_scale", "intrinsics", "camera_to_world", "normalization")
        entry: Row = {"views": views.colors, "depth": views.depths, **{name: getattr(views, name) for name in cameras}}
        chosen: Row = {name: outcome[name] for name in ("up", "up_reason") if name in outcome}
        if outcome.get("sides") == "both":
            chosen["sides"] = "both"
        if chosen:
            entry["metadata"] = json.dumps(json.loads(row["metadata"]) | chosen, sort_keys=True, ensure_ascii=False)
        return entry

    def check_artifact(self, data: bytes) -> None:
        Views.from_bytes(data)

    def open(self, context: Context) -> Work:
        from stages.rendering.drawing import Renderer

        renderer = Renderer(self.size, self.samples)

        def work_one(row: Row) -> Done:
            try:
                return self.render(row, read_input(context.store, row, "mesh", "ingest", bytes), renderer)
            except DamagedFile as error:
                raise DamagedInput("ingest", error) from error
            finally:
                give_back_memory()

        return each(work_one)

    def render(self, row: Row, archive: bytes, renderer: Renderer) -> Done:
        up = row.get("up") or "y"
        if up not in ("y", "z", "auto"):
            raise StageError("bad_up", f"up is {up!r}, expected 'y', 'z' or 'auto'")
        limits = Limits(self.max_faces, self.max_vertices, self.max_texture_pixels, self.max_nodes)
        max_side = min(max(_LEAST_TEXTURE_SIDE, 8 * self.size), _MOST_TEXTURE_SIDE)
        model = read_mesh(archive, row["mesh_name"], row["format"], limits, max_side)
        to_sphere = normalization(model, "z" if up == "z" else "y")  # also refuses points that find_up cannot judge
        chosen: Row = {}
        if up == "auto":
            axis = find_up(model, row["format"])
            chosen = {"up": axis.axis, "up_reason": axis.reason, "up_sure": axis.sure}
            if axis.axis == "z":
                to_sphere = normalization(model, "z")
            if not axis.sure:
                model.warn(f"up: auto took {axis.axis} and is not sure: {axis.reason}")
        views = self.draw(model, to_sphere, renderer)
        found = [*model.warnings, *translucent(model), *culled(renderer.seen, self.sides)]
        if self.sides == "auto" and renderer.seen is not None:
            chosen["sides"] = renderer.seen.best
        columns = {
            "view_count": self.views,
            "size": self.size,
            "faces": model.faces,
            "vertices": model.vertices,
            "warnings": list(dict.fromkeys([*(row.get("warnings") or []), *found])),
            **chosen,
        }
        return Done(columns, artifact=views.to_bytes())

    def draw(self, model: Model, to_sphere: np.ndarray, renderer: Renderer) -> Views:
        poses = cameras.look_at_centre(self.directions(), self.fov_deg)
        intrinsics = cameras.intrinsics(self.views, self.size, self.fov_deg)
        depth_scale = (cameras.distance(self.fov_deg) + 1.01) / encoding.DEPTH_STEPS
        colors, depths, visible = [], [], False
        for window, color, depth in renderer.draw(
            model, to_sphere, intrinsics, poses, albedo=self.light == "none", sides=self.sides
        ):
            visible = visible or bool(color[..., 3].any())
            colors.append(encoding.color_png(color, window, self.size))
            depths.append(encoding.depth_png(depth, depth_scale, window, self.size))
        if not visible:
            raise StageError(
                "nothing_visible", "no view shows anything: all is transparent, seen from behind, or too thin"
            )
        matrices = intrinsics.astype(np.float32), poses.astype(np.float32)
        return Views(colors, depths, *matrices, depth_scale, to_sphere)

    def directions(self) -> np.ndarray:
        """[V, 3]: the directions of the cameras, as seen from the object."""
        if self.cameras == "orbit":
            return cameras.orbit(self.views, self.elevation_deg)
        return cameras.fibonacci(self.views, self.seed)

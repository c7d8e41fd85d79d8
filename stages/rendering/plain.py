"""PLY and STL as a Model, parsed by trimesh; vertex and face colours are taken as sRGB."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np

from stages.ingesting import references
from stages.rendering import images
from stages.rendering.model import UNPAINTED, Limits, Material, Model, Texture, part, srgb_colors
from stages.stage import StageError


def read(members: dict[str, bytes], name: str, form: str, limits: Limits, max_side: int) -> Model:
    data = members[name]
    _count(data, form, limits)
    found = _parsed(data, form, name)
    if found.get("faces") is None or not len(found["faces"]):
        raise StageError("no_faces", f"{name} has points and no triangles")
    model = Model()
    positions, faces = np.asarray(found["vertices"]), np.asarray(found["faces"], np.int64)
    normals, colors, uv = found.get("vertex_normals"), found.get("vertex_colors"), None
    texture = _texture(members, name, model, limits, max_side) if form == "ply" else None
    if texture is not None and "visual" in found:
        uv = np.zeros((len(positions), 4), np.float32)
        uv[:, :2] = found["visual"].uv * (1, -1) + (0, 1)
    if len(normals if normals is not None else positions) != len(positions):
        normals = None  # vertices were split along the seams of the texture
    if colors is None and found.get("face_colors") is not None and len(found["face_colors"]) == len(faces):
        if faces.min() < 0 or faces.max() >= len(positions):
            raise StageError("corrupt_file", f"{name}: a face names vertex {faces.max():,} of {len(positions):,}")
        positions, colors = positions[faces].reshape(-1, 3), np.repeat(found["face_colors"], 3, axis=0)
        faces, normals, uv = np.arange(len(positions)).reshape(-1, 3), None, None
    painted = srgb_colors(colors) if colors is not None and len(colors) == len(positions) else None
    plain = painted is None and texture is None
    alpha = "BLEND" if painted is not None and painted[:, 3].min(initial=1) < 1 else "OPAQUE"
    model.parts.append(
        part(
            positions,
            faces,
            Material(color_texture=texture if uv is not None else None, alpha=alpha),
            normals=normals,
            uv=uv,
            colors=painted,
            factor=UNPAINTED if plain else (1.0, 1.0, 1.0, 1.0),
        )
    )
    return model


def _parsed(data: bytes, form: str, name: str) -> dict[str, Any]:
    from trimesh.exchange import ply, stl

    try:
        if form == "stl":
            return stl.load_stl(io.BytesIO(_measured(data)))
        return ply.load_ply(io.BytesIO(data), skip_materials=True)
    except MemoryError:
        raise
    except Exception as error:  # trimesh's readers raise whatever broke them
        raise StageError(
            "corrupt_file", f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from None


def _measured(data: bytes) -> bytes:
    """A binary STL without what some programs write behind its last triangle."""
    if b"\0" not in data[:1024]:
        return data
    return data[: 84 + 50 * int.from_bytes(data[80:84], "little")]


def _texture(members: dict[str, bytes], name: str, model: Model, limits: Limits, max_side: int) -> Texture | None:
    """The first texture that a PLY header names, if there is one."""
    for uri in references.ply_textures(members[name]):
        found = [key for key in references.names_of(uri, name) if key in members]
        if found:
            return Texture(images.decode(members[found[0]], uri, limits, max_side))
        model.warn(f"missing file: {uri[:200]}")
    return None


def _count(data: bytes, form: str, limits: Limits) -> None:
    """What the file claims, before a reader believes it."""
    if form == "ply":
        header = data[: data.find(b"end_header")].decode("latin-1")
        for element, what in (("vertex", "vertices"), ("face", "faces")):
            match = re.search(rf"^element\s+{element}\s+(\d+)", header, re.MULTILINE)
            limits.check(what, int(match.group(1)) if match else 0)
    else:
        limits.check("faces", len(data) // 50 if b"\0" in data[:1024] else data.count(b"endfacet"))

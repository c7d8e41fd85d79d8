"""PLY as a Model: polygons and strips, normals, colours of vertices or faces, and MeshLab's textures.

Colours are taken as sRGB; v = 0 is the last row of an image.
"""

from __future__ import annotations

import numpy as np

from stages.ingesting import references
from stages.rendering import images
from stages.rendering.model import UNPAINTED, Limits, Material, Model, Texture, fans, part, srgb_colors
from stages.rendering.ply_data import Element, Lists, read_elements, read_header
from stages.stage import StageError

_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_COORDINATES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))


def read(members: dict[str, bytes], name: str, limits: Limits, max_side: int) -> Model:
    model = Model()
    try:
        for element in read_header(members[name])[1]:
            if element.name in ("vertex", "face"):
                limits.check("vertices" if element.name == "vertex" else "faces", element.count)
        elements = read_elements(members[name])
        vertex = elements.get("vertex", Element("vertex", 0))
        texture = _texture(members, name, model, limits, max_side)
        _add(model, vertex, elements.get("face"), elements.get("tristrips"), texture, limits)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise StageError("corrupt_file", f"{name}: {' '.join(str(error).split())[:200]}") from None
    return model


def _add(
    model: Model, vertex: Element, face: Element | None, strips: Element | None, texture: Texture | None, limits: Limits
) -> None:
    polygons = _indices(face)
    if polygons is None:
        corners = _strip_corners(_indices(strips))
        counts = np.full(len(corners) // 3, 3)
        face = None
    else:
        corners, counts = polygons.values.astype(np.int64), polygons.counts
    limits.check("faces", int(np.maximum(counts - 2, 0).sum()))
    if not len(corners):
        raise StageError("no_faces", "the file has points and no triangles")
    if corners.min() < 0 or corners.max() >= vertex.count:
        raise StageError("corrupt_file", f"a face names vertex {corners.max():,} of {vertex.count:,}")
    positions = np.stack([vertex.columns[axis] for axis in "xyz"], 1).astype(np.float64)
    normals, colors, uv = _group(vertex, ("nx", "ny", "nz")), _painted(vertex), None
    for names in _COORDINATES:
        uv = _group(vertex, names) if uv is None else uv
    of_corners = face.columns.get("texcoord") if face is not None else None
    of_faces = _painted(face) if face is not None and colors is None else None
    if isinstance(of_corners, Lists) and len(of_corners.values) == 2 * len(corners) or of_faces is not None:
        # what belongs to corners or faces asks for vertices of their own
        positions = positions[corners]
        normals, colors, uv = (values[corners] if values is not None else None for values in (normals, colors, uv))
        if isinstance(of_corners, Lists) and len(of_corners.values) == 2 * len(corners):
            uv = of_corners.values.reshape(-1, 2)
        colors = np.repeat(of_faces, counts, axis=0) if of_faces is not None else colors
        corners = np.arange(len(corners))
    textured = texture is not None and uv is not None
    coordinates = np.zeros((len(positions), 4), np.float32)
    if textured:
        coordinates[:, :2] = uv * (1, -1) + (0, 1)
    alpha = "BLEND" if colors is not None and colors[:, 3].min(initial=1) < 1 else "OPAQUE"
    model.parts.append(
        part(
            positions,
            corners[fans(counts)],
            Material(color_texture=texture if textured else None, alpha=alpha),
            normals=normals,
            uv=coordinates,
            colors=colors,
            factor=UNPAINTED if colors is None and not textured else (1.0, 1.0, 1.0, 1.0),
        )
    )


def _indices(element: Element | None) -> Lists | None:
    for name in ("vertex_indices", "vertex_index"):
        lists = element.columns.get(name) if element is not None else None
        if isinstance(lists, Lists):
            return lists
    return None


def _strip_corners(strips: Lists | None) -> np.ndarray:
    """[3 F] of triangle strips, which a negative index ends."""
    if strips is None:
        return np.zeros(0, np.int64)
    line = strips.values.astype(np.int64)
    ends = np.zeros(len(line), bool)
    ends[np.cumsum(strips.counts)[:-1]] = True  # the first of each list but the first one
    begins = np.flatnonzero(ends | (np.concatenate([[-1], line[:-1]]) < 0))
    since = np.arange(len(line)) - begins[np.searchsorted(begins, np.arange(len(line)), "right") - 1]
    last = np.flatnonzero((since >= 2) & (line >= 0))
    faces = np.stack([line[last - 2], line[last - 1], line[last]], 1)
    odd = since[last] % 2 == 1
    faces[odd] = faces[odd][:, [1, 0, 2]]
    return faces.reshape(-1)


def _group(element: Element, names: tuple[str, ...]) -> np.ndarray | None:
    columns = [element.columns.get(name) for name in names]
    if any(column is None or isinstance(column, Lists) for column in columns):
        return None
    return np.stack(columns, 1)


def _painted(element: Element) -> np.ndarray | None:
    """[R, 4] float32 linear"""
    for names in _COLORS:
        colors = _group(element, names)
        if colors is not None:
            alpha = _group(element, ("alpha",))
            return srgb_colors(colors if alpha is None or alpha.dtype != colors.dtype else np.hstack([colors, alpha]))
    return None


def _texture(members: dict[str, bytes], name: str, model: Model, limits: Limits, max_side: int) -> Texture | None:
    """The first texture that the header names, if there is one."""
    for uri in references.ply_textures(members[name]):
        found = [key for key in references.names_of(uri, name) if key in members]
        if found:
            return Texture(images.decode(members[found[0]], uri, limits, max_side))
        model.warn(f"missing file: {uri[:200]}")
    return None

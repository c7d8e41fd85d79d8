"""Read PLY files: polygons and strips, normals, colours of vertices or faces, and MeshLab's textures.

Colours are taken as sRGB. In PLY, v = 0 is the last row of an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.colors import UNPAINTED, WHITE, srgb_colors
from stages.meshes.images import ImageDecoder
from stages.meshes.model import Limits, Material, Model, Texture, make_part
from stages.meshes.ply.elements import Element, Lists, read_elements, read_header
from stages.meshes.polygons import triangles

if TYPE_CHECKING:
    from stages.meshes.mesh_file import MeshFile

_COLORS = (
    ("red", "green", "blue", "alpha"), ("diffuse_red", "diffuse_green", "diffuse_blue", "diffuse_alpha"),
    ("r", "g", "b", "a"), ("diffuse_r", "diffuse_g", "diffuse_b", "diffuse_a"),
)  # fmt: skip
_COORDINATES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"), ("tx", "ty"), ("tu", "tv"))
_MOST_ELEMENTS, _MOST_PROPERTIES, _MOST_LISTS = 100, 1000, 16
# properties of the vertices of Gaussian splats, and of compressed ones
_SPLAT = {"f_dc_0", "opacity", "rot_0", "scale_0"}
_PACKED_SPLAT = {"packed_position", "packed_rotation", "packed_scale"}


@dataclass
class _Corners:
    """The vertices and triangles of all polygons; corners that need different values have different vertices."""

    positions: np.ndarray  # [N, 3] float64
    normals: np.ndarray | None
    colors: np.ndarray | None
    uv: np.ndarray | None
    faces: np.ndarray  # [F, 3]
    polygons: np.ndarray  # [F] the polygon of each triangle


def read(file: MeshFile, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
    model = Model()
    try:
        _check_header(read_header(file.data)[1], limits)
        elements = read_elements(file.data, limits)
        face = elements.get("face")
        corners = _corners(elements.get("vertex", Element("vertex", 0)), face, elements.get("tristrips"), limits)
        textures = _textures(file, members, model, ImageDecoder(limits, max_side)) if corners.uv is not None else []
        _add(model, corners, textures, face.columns.get("texnumber") if face is not None else None)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise StageError("corrupt_file", f"{file.name}: {' '.join(str(error).split())[:200]}") from None
    return model


def _check_header(elements: list[Element], limits: Limits) -> None:
    """Check what the header declares, before any element is read."""
    lists = max((sum(bool(prop.counted_by) for prop in element.properties) for element in elements), default=0)
    properties = sum(len(element.properties) for element in elements)
    if len(elements) > _MOST_ELEMENTS or properties > _MOST_PROPERTIES or lists > _MOST_LISTS:
        found = f"{len(elements):,} elements, {properties:,} properties, and {lists:,} lists in an element"
        most = f"{_MOST_ELEMENTS}, {_MOST_PROPERTIES:,} and {_MOST_LISTS}"
        raise StageError("too_large", f"the header declares {found}; at most {most} are read")
    counts = {element.name: element.count for element in elements}
    if not counts.get("face") and not counts.get("tristrips"):
        kinds = {prop.name for element in elements for prop in element.properties}
        if kinds >= _SPLAT or kinds >= _PACKED_SPLAT:
            raise StageError("no_faces", "the file is a Gaussian splat, not a mesh: it has points and no triangles")
        raise StageError("no_faces", "the file has points and no triangles")
    for element in elements:  # those that are not drawn are read too
        limits.check("vertices" if element.name == "vertex" else "faces", element.count)


def _corners(vertex: Element, face: Element | None, strips: Element | None, limits: Limits) -> _Corners:
    polygons = _indices(face)
    if polygons is None:
        indices = _strip_corners(_indices(strips))
        counts = np.full(len(indices) // 3, 3)
        face = None
    else:
        indices, counts = polygons.values.astype(np.int64), polygons.counts
    limits.check("faces", int(np.maximum(counts - 2, 0).sum()))
    if not len(indices):
        raise StageError("no_faces", "the file has points and no triangles")
    if indices.min() < 0 or indices.max() >= vertex.count:
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise StageError("corrupt_file", f"a face uses vertex {wrong:,}, but there are {vertex.count:,}")
    positions = _group(vertex, ("x", "y", "z"))
    if positions is None:
        raise StageError("corrupt_file", "the vertices lack x, y or z")
    positions = positions.astype(np.float64)
    normals, colors, uv = _group(vertex, ("nx", "ny", "nz")), _painted(vertex), None
    for names in _COORDINATES:
        uv = _group(vertex, names) if uv is None else uv
    faces = triangles(positions[indices], counts)
    face_colors = _painted(face) if face is not None else None
    if face_colors is not None and colors is not None and not _varies(face_colors):
        face_colors = None  # all faces have one colour, and the vertices have their own
    corner_uv = _corner_uv(face, len(indices))
    if corner_uv is not None or face_colors is not None:  # values of corners or faces need vertices of their own
        positions = positions[indices]
        normals, colors, uv = (values[indices] if values is not None else None for values in (normals, colors, uv))
        uv = corner_uv if corner_uv is not None else uv
        colors = np.repeat(face_colors, counts, axis=0) if face_colors is not None else colors
    else:
        faces = indices[faces]
    polygon_of = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
    return _Corners(positions, normals, colors, uv, faces, polygon_of)


def _corner_uv(face: Element | None, corners: int) -> np.ndarray | None:
    """[C, 2]: MeshLab's texture coordinates of each corner."""
    lists = face.columns.get("texcoord") if face is not None else None
    if isinstance(lists, Lists) and len(lists.values) == 2 * corners:
        return lists.values.reshape(-1, 2)
    return None


def _varies(colors: np.ndarray) -> bool:
    return bool((colors != colors[:1]).any())


def _add(model: Model, corners: _Corners, textures: list[Texture | None], number: np.ndarray | Lists | None) -> None:
    """Add a part for each texture, and one for the faces without a texture."""
    if len(textures) > 1 and isinstance(number, np.ndarray):
        wanted = number.astype(np.int64)[corners.polygons]
    else:
        wanted = np.zeros(len(corners.polygons), np.int64)
        textures = textures[:1]
    coordinates = np.zeros((len(corners.positions), 4), np.float32)
    if corners.uv is not None:
        coordinates[:, :2] = corners.uv * (1, -1) + (0, 1)
    colors = corners.colors
    alpha = "BLEND" if colors is not None and colors[:, 3].min(initial=1) < 1 else "OPAQUE"
    wanted[(wanted < 0) | (wanted >= len(textures))] = -1
    for which in np.unique(wanted):
        texture = textures[which] if which >= 0 else None
        model.parts.append(
            make_part(
                corners.positions,
                corners.faces[wanted == which],
                Material(color_texture=texture, alpha=alpha),
                normals=corners.normals,
                uv=coordinates,
                colors=colors,
                factor=UNPAINTED if colors is None and texture is None else WHITE,
            )
        )


def _indices(element: Element | None) -> Lists | None:
    for name in ("vertex_indices", "vertex_index", "vertex_indexes"):
        lists = element.columns.get(name) if element is not None else None
        if isinstance(lists, Lists):
            return lists
    return None


def _strip_corners(strips: Lists | None) -> np.ndarray:
    """[3 F]: the vertices of triangle strips; a negative index ends a strip."""
    if strips is None or not len(strips.values):
        return np.zeros(0, np.int64)
    line = strips.values.astype(np.int64)
    ends = np.zeros(len(line) + 1, bool)
    ends[np.cumsum(strips.counts)[:-1]] = True  # the first of each list but the first one
    begins = np.flatnonzero(ends[:-1] | (np.concatenate([[-1], line[:-1]]) < 0))
    since = np.arange(len(line)) - begins[np.searchsorted(begins, np.arange(len(line)), "right") - 1]
    last = np.flatnonzero((since >= 2) & (line >= 0))
    faces = np.stack([line[last - 2], line[last - 1], line[last]], 1)
    odd = since[last] % 2 == 1
    faces[odd] = faces[odd][:, [1, 0, 2]]
    return faces.reshape(-1)


def _group(element: Element, names: tuple[str, ...]) -> np.ndarray | None:
    """[R, len(names)]; None if one of the properties is missing or a list."""
    columns = [column for name in names if isinstance(column := element.columns.get(name), np.ndarray)]
    return np.stack(columns, 1) if len(columns) == len(names) else None


def _painted(element: Element) -> np.ndarray | None:
    """[R, 4] float32 linear"""
    for names in _COLORS:
        colors = _group(element, names[:3])
        if colors is not None:
            alpha = _group(element, names[3:])
            return srgb_colors(colors if alpha is None or alpha.dtype != colors.dtype else np.hstack([colors, alpha]))
    return None


def _textures(file: MeshFile, members: Mapping[str, bytes], model: Model, images: ImageDecoder) -> list[Texture | None]:
    """The textures in the order of the header; None where a file is missing."""
    textures: dict[str, Texture | None] = {}
    names = [companion.uri for companion in file.companions()]
    for uri in dict.fromkeys(names):
        found = references.find(uri, file.name, members)
        textures[uri] = None if found is None else Texture(images.decode(members[found], uri))
        if found is None:
            model.warn(references.missing(uri))
    return [textures[uri] for uri in names]

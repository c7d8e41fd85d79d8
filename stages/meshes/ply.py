"""PLY as a Model: polygons and strips, normals, colours of vertices or faces, and MeshLab's textures.

Colours are taken as sRGB; v = 0 is the last row of an image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stages.contract.stage import StageError
from stages.ingesting import references
from stages.meshes import images
from stages.meshes.model import UNPAINTED, Limits, Material, Model, Texture, part, srgb_colors
from stages.meshes.ply_data import Element, Lists, read_elements, read_header
from stages.meshes.polygons import triangles

_COLORS = (
    ("red", "green", "blue", "alpha"), ("diffuse_red", "diffuse_green", "diffuse_blue", "diffuse_alpha"),
    ("r", "g", "b", "a"), ("diffuse_r", "diffuse_g", "diffuse_b", "diffuse_a"),
)  # fmt: skip
_COORDINATES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"), ("tx", "ty"), ("tu", "tv"))
_SPLAT = {"f_dc_0", "opacity", "rot_0", "scale_0"}  # what the vertices of Gaussian splats have, and packed ones:
_PACKED_SPLAT = {"packed_position", "packed_rotation", "packed_scale"}


@dataclass
class _Corners:
    """What the corners of all polygons have, once shared vertices are told apart where they must be."""

    positions: np.ndarray  # [N, 3] float64
    normals: np.ndarray | None
    colors: np.ndarray | None
    uv: np.ndarray | None
    faces: np.ndarray  # [F, 3]
    owners: np.ndarray  # [F] polygon of each triangle


def read(members: dict[str, bytes], name: str, limits: Limits, max_side: int) -> Model:
    model = Model()
    try:
        _check_header(read_header(members[name])[1], limits)
        elements = read_elements(members[name])
        face = elements.get("face")
        corners = _corners(elements.get("vertex", Element("vertex", 0)), face, elements.get("tristrips"), limits)
        textures = _textures(members, name, model, limits, max_side) if corners.uv is not None else []
        _add(model, corners, textures, face.columns.get("texnumber") if face is not None else None)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise StageError("corrupt_file", f"{name}: {' '.join(str(error).split())[:200]}") from None
    return model


def _check_header(elements: list[Element], limits: Limits) -> None:
    """Before anything is read."""
    counts = {element.name: element.count for element in elements}
    if not counts.get("face") and not counts.get("tristrips"):
        kinds = {prop.name for element in elements for prop in element.properties}
        if kinds >= _SPLAT or kinds >= _PACKED_SPLAT:
            raise StageError("no_faces", "the file is a Gaussian splat, not a mesh: it has points and no triangles")
        raise StageError("no_faces", "the file has points and no triangles")
    for name, count in counts.items():  # what is not drawn has to be read past
        limits.check("vertices" if name == "vertex" else "faces", count)


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
        raise StageError("corrupt_file", f"a face names vertex {wrong:,} of {vertex.count:,}")
    positions = _group(vertex, ("x", "y", "z"))
    if positions is None:
        raise StageError("corrupt_file", "the vertices have no x, y and z")
    positions = positions.astype(np.float64)
    normals, colors, uv = _group(vertex, ("nx", "ny", "nz")), _painted(vertex), None
    for names in _COORDINATES:
        uv = _group(vertex, names) if uv is None else uv
    faces = triangles(positions[indices], counts)
    of_faces, of_corners = (_painted(face), face.columns.get("texcoord")) if face is not None else (None, None)
    if of_faces is not None and colors is not None and not _varies(of_faces):
        of_faces = None  # one colour for all faces beside a colour of each vertex
    own_uv = isinstance(of_corners, Lists) and len(of_corners.values) == 2 * len(indices)
    if own_uv or of_faces is not None:  # what belongs to corners or faces asks for vertices of their own
        positions = positions[indices]
        normals, colors, uv = (values[indices] if values is not None else None for values in (normals, colors, uv))
        uv = of_corners.values.reshape(-1, 2) if own_uv else uv
        colors = np.repeat(of_faces, counts, axis=0) if of_faces is not None else colors
    else:
        faces = indices[faces]
    owners = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
    return _Corners(positions, normals, colors, uv, faces, owners)


def _varies(colors: np.ndarray) -> bool:
    return bool((colors != colors[:1]).any())


def _add(model: Model, corners: _Corners, textures: list[Texture | None], number: np.ndarray | Lists | None) -> None:
    """A part for each texture; faces that name none of them are drawn without."""
    if len(textures) > 1 and isinstance(number, np.ndarray):
        wanted = number.astype(np.int64)[corners.owners]
    else:
        wanted = np.zeros(len(corners.owners), np.int64)
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
            part(
                corners.positions,
                corners.faces[wanted == which],
                Material(color_texture=texture, alpha=alpha),
                normals=corners.normals,
                uv=coordinates,
                colors=colors,
                factor=UNPAINTED if colors is None and texture is None else (1.0, 1.0, 1.0, 1.0),
            )
        )


def _indices(element: Element | None) -> Lists | None:
    for name in ("vertex_indices", "vertex_index", "vertex_indexes"):
        lists = element.columns.get(name) if element is not None else None
        if isinstance(lists, Lists):
            return lists
    return None


def _strip_corners(strips: Lists | None) -> np.ndarray:
    """[3 F] of triangle strips, which a negative index ends."""
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
    columns = [element.columns.get(name) for name in names]
    if any(column is None or isinstance(column, Lists) for column in columns):
        return None
    return np.stack(columns, 1)


def _painted(element: Element) -> np.ndarray | None:
    """[R, 4] float32 linear"""
    for names in _COLORS:
        colors = _group(element, names[:3])
        if colors is not None:
            alpha = _group(element, names[3:])
            return srgb_colors(colors if alpha is None or alpha.dtype != colors.dtype else np.hstack([colors, alpha]))
    return None


def _textures(
    members: dict[str, bytes], name: str, model: Model, limits: Limits, max_side: int
) -> list[Texture | None]:
    """The textures that the header names, in its order; None where a file is missing."""
    textures: list[Texture | None] = []
    left = limits.max_texture_pixels
    for uri in references.ply_textures(members[name]):
        found = [key for key in references.names_of(uri, name) if key in members]
        if found:
            pixels = images.decode(members[found[0]], uri, replace(limits, max_texture_pixels=left), max_side)
            left -= pixels.shape[0] * pixels.shape[1]
            textures.append(Texture(pixels))
        else:
            model.warn(f"missing file: {uri[:200]}")
            textures.append(None)
    return textures

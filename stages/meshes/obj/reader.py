"""Read OBJ files: polygons of any shape, negative indices, vertex colours, several libraries.

Colours are taken as sRGB, as OBJ files are written. In OBJ, v = 0 is the last row of an image.
"""

from __future__ import annotations

import io
import re
from array import array
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.colors import srgb_colors
from stages.meshes.images import ImageDecoder
from stages.meshes.model import Limits, Model, make_part
from stages.meshes.obj.materials import Surface, read_libraries, read_textures
from stages.meshes.polygons import Budget, triangles
from stages.meshes.references import decoded
from stages.meshes.text_numbers import CHUNK, LONG_LINE, most_words, numbers_of, table_of

if TYPE_CHECKING:
    from stages.meshes.mesh_file import MeshFile

_FREE_FORM = "free-form curves and surfaces are not drawn"
_UNDRAWN = {
    b"l": "points and lines are not drawn", b"p": "points and lines are not drawn",
    b"curv": _FREE_FORM, b"curv2": _FREE_FORM, b"surf": _FREE_FORM,
}  # fmt: skip
# how Microsoft's C library wrote NaN and infinity; elsewhere a # starts a comment
_ODD_NUMBER = re.compile(rb"\d\.#(?:IND|QNAN|SNAN|INF)\d*")
_CONTINUED = re.compile(rb"^([^#\n]*)\\[ \t]*\r?\n", re.MULTILINE)  # a comment may end in a backslash


@dataclass
class _Faces:
    """The face lines of one material."""

    lines: list[bytes] = field(default_factory=list)
    # four numbers wherever the last three have changed: the index of a line, and how many vertices, texture coordinates
    # and normals come before it
    counted: array[int] = field(default_factory=lambda: array("q"))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # of corners on each line


@dataclass
class _Statements:
    """The lines of an OBJ file, by kind."""

    limits: Limits
    vertices: list[bytes] = field(default_factory=list)
    uv: list[bytes] = field(default_factory=list)
    normals: list[bytes] = field(default_factory=list)
    faces: dict[bytes, _Faces] = field(default_factory=lambda: defaultdict(_Faces))  # by material
    undrawn: set[str] = field(default_factory=set)
    face_count: int = 0
    changed: bool = True  # since the last face: what comes before it, or the material

    def add_vertex(self, rest: bytes) -> None:
        self.vertices.append(rest)
        self.changed = True
        if len(self.vertices) > self.limits.max_vertices:
            self.limits.check("vertices", len(self.vertices))

    def add_face(self, material: bytes, rest: bytes) -> None:
        faces = self.faces[material]
        if self.changed:
            self.limits.check("nodes", len(self.faces), "parts of different materials")
            faces.counted.extend((len(faces.lines), len(self.vertices), len(self.uv), len(self.normals)))
            self.changed = False
        faces.lines.append(rest.split(b"#", 1)[0] if b"#" in rest else rest)
        self.face_count += 1
        if self.face_count > self.limits.max_faces:
            self.limits.check("faces", self.face_count)


@dataclass(frozen=True)
class _Tables:
    vertices: np.ndarray  # [V, 3 or more] float64
    uv: np.ndarray  # [T, 2 or more]
    normals: np.ndarray  # [N, 3]


def read(file: MeshFile, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
    name, model = file.name, Model()
    try:
        statements = _statements(_plain(file.data), limits)
        limits.check("vertices", len(statements.vertices))
        vertices, uv = table_of(statements.vertices, 3, 6), table_of(statements.uv, 1, 2)
        uv = uv if uv.shape[1] == 2 else np.hstack([uv, np.zeros_like(uv)])
        tables = _Tables(vertices, uv, table_of(statements.normals, 3, 3))
        _count_faces(statements, limits)
        groups = {key: _corners(faces) for key, faces in statements.faces.items()}
    except (ValueError, OverflowError) as error:
        raise StageError("corrupt_file", f"{name}: {' '.join(str(error).split())[:200]}") from None
    if not groups and statements.undrawn == {_FREE_FORM}:
        raise StageError("unsupported", f"{name} has only free-form curves or surfaces; only polygons are drawn")
    if not groups:
        raise StageError("no_faces", f"{name} has {len(vertices):,} points and no polygons")
    for text in sorted(statements.undrawn):
        model.warn(text)
    titles = {key: decoded(key) for key in groups}
    surfaces = read_libraries(file, members, model, limits)
    read_textures(surfaces, list(titles.values()), members, ImageDecoder(limits, max_side))
    budget = Budget()
    for key, (corners, counts) in groups.items():
        if titles[key] not in surfaces and titles[key] and surfaces:
            model.warn(f"missing material: {titles[key][:100]}")
        _add(model, surfaces.get(titles[key], Surface()), tables, corners, counts, budget)
    return model


def _plain(text: bytes) -> bytes:
    """The text without a byte order mark, continued lines, line ends of old Macs, and numbers that contain a '#'."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    if b"\n" not in text:
        text = text.replace(b"\r", b"\n")
    if b"\\" in text:
        text = _CONTINUED.sub(rb"\1 ", text)
    return _ODD_NUMBER.sub(b"nan", text) if b".#" in text else text


def _statements(text: bytes, limits: Limits) -> _Statements:
    limits.check("vertices", text.count(b"\nv "))
    limits.check("faces", text.count(b"\nf "))
    if text.count(b"\n") > 2 * (limits.max_vertices + limits.max_faces):
        raise StageError("too_large", "the file has more lines than max_vertices and max_faces allow")
    found = _Statements(limits)
    material = b""
    for line in io.BytesIO(text):
        words = line.split(None, 1)
        if len(words) < 2:
            continue
        keyword, rest = words
        if keyword == b"v":
            found.add_vertex(rest)
        elif keyword == b"f":
            found.add_face(material, rest)
        elif keyword == b"vt":
            found.uv.append(rest)
            found.changed = True
        elif keyword == b"vn":
            found.normals.append(rest)
            found.changed = True
        elif keyword == b"usemtl":
            material, found.changed = rest.partition(b" # ")[0].strip(), True
        elif keyword in _UNDRAWN:
            found.undrawn.add(_UNDRAWN[keyword])
    return found


def _count_faces(statements: _Statements, limits: Limits) -> None:
    """Count the corners of each line, and check how many triangles there are before numbers are read."""
    total = 0
    for faces in statements.faces.values():
        for line in faces.lines:
            if len(line) > LONG_LINE:
                limits.check("faces", total + most_words(line) - 2)
        faces.counts = np.fromiter(map(len, map(bytes.split, faces.lines)), np.int64, len(faces.lines))
        total += int(np.maximum(faces.counts - 2, 0).sum())
        limits.check("faces", total)


def _corners(faces: _Faces) -> tuple[np.ndarray, np.ndarray]:
    """[C, 3] int64: indices from 0 of each corner's vertex, uv and normal (-1: none); [P]: corners of each polygon."""
    counts = faces.counts
    joined = b" ".join(faces.lines)
    slashes = next(iter(faces.lines[0].split(None, 1)), b"").count(b"/")
    numbers = numbers_of(joined.replace(b"//", b"/0/").replace(b"/", b" "), np.int64)
    if joined.count(b"/") == slashes * counts.sum() and len(numbers) == (slashes + 1) * counts.sum():
        table = np.zeros((counts.sum(), 3), np.int64)
        table[:, : slashes + 1] = numbers.reshape(-1, slashes + 1)[:, :3]
    else:  # corners are written in several ways
        chunks = range(0, len(faces.lines), CHUNK)
        table = np.concatenate([_mixed_corners(faces.lines[start : start + CHUNK]) for start in chunks])
    if table.min(initial=0) < 0:
        _count_from_front(table, counts, faces.counted)
    return table - 1, counts


def _mixed_corners(lines: list[bytes]) -> np.ndarray:
    """[C, 3] int64, 0 where a corner has no index."""
    padded = [(word.split(b"/", 3) + [b"", b""])[:3] for line in lines for word in line.split()]
    return np.array([[int(n) if n else 0 for n in row] for row in padded], np.int64).reshape(-1, 3)


def _count_from_front(table: np.ndarray, counts: np.ndarray, counted: array[int]) -> None:
    """Replace indices that count back from the last line by indices from the front; invalid ones stay negative."""
    known = np.frombuffer(counted, np.int64).reshape(-1, 4)
    line = np.repeat(np.arange(len(counts)), counts)
    before = known[np.searchsorted(known[:, 0], line, "right") - 1, 1:]
    from_front = table + before + 1
    back = table < 0
    table[back] = np.where(from_front[back] > 0, from_front[back], np.iinfo(np.int64).min // 2)


def _add(
    model: Model, surface: Surface, tables: _Tables, corners: np.ndarray, counts: np.ndarray, budget: Budget
) -> None:
    if not len(corners):
        return
    _check_corners(corners, tables, model)
    rows, row_of = _distinct(corners, tables)
    vertices = tables.vertices[rows[:, 0]]
    coordinates = np.zeros((len(rows), 4), np.float32)
    for column, keyword in ((0, "map_kd"), (2, "map_ke")):
        line = surface.maps.get(keyword) or (surface.maps.get("map_d") if keyword == "map_kd" else None)
        if line is not None and len(tables.uv):
            uv = line.transformed(tables.uv[rows[:, 1]])
            coordinates[:, column : column + 2] = np.where(rows[:, 1:2] >= 0, uv, 0)
    normals = np.where(rows[:, 2:3] >= 0, tables.normals[rows[:, 2]], 0) if len(tables.normals) else None
    colors = srgb_colors(vertices[:, 3:6]) if vertices.shape[1] >= 6 else None
    factor = (1.0, 1.0, 1.0, surface.alpha) if colors is not None and surface.colorless else surface.factor
    model.parts.append(
        make_part(
            vertices[:, :3],
            row_of[triangles(tables.vertices[corners[:, 0], :3], counts, budget)],
            surface.material,
            normals=normals,
            uv=coordinates,
            colors=colors,
            factor=factor,
            emission=surface.linear_emission,
        )
    )


def _check_corners(corners: np.ndarray, tables: _Tables, model: Model) -> None:
    kinds = ((tables.vertices, "vertex"), (tables.uv, "texture coordinate"), (tables.normals, "normal"))
    for column, (table, what) in enumerate(kinds):
        most = corners[:, column].max()
        if column and not len(table) and most >= 0:
            model.warn(f"faces name a {what}, and the file has none")
            corners[:, column] = -1
        elif most >= len(table):
            raise StageError("corrupt_file", f"a face uses {what} {most + 1:,}, but there are {len(table):,}")
    if corners[:, 0].min() < 0 or corners.min() < -1:
        raise StageError(
            "corrupt_file", "a face counts back beyond the first line, or uses vertex 0; vertices count from 1"
        )


def _distinct(corners: np.ndarray, tables: _Tables) -> tuple[np.ndarray, np.ndarray]:
    """[M, 3] the distinct corners, and [C] the index among them of each corner."""
    most = len(tables.vertices) * (len(tables.uv) + 1) * (len(tables.normals) + 1)
    if most > np.iinfo(np.int64).max:
        rows, row_of = np.unique(corners, axis=0, return_inverse=True)
        return rows, row_of.reshape(-1)
    keys = (corners[:, 0] * (len(tables.uv) + 1) + corners[:, 1] + 1) * (len(tables.normals) + 1) + corners[:, 2] + 1
    _, first, row_of = np.unique(keys, return_index=True, return_inverse=True)
    return corners[first], row_of.reshape(-1)

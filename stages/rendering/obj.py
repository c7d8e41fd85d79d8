"""Wavefront OBJ and MTL as a Model: polygons, negative indices, vertex colours, several libraries, Kd times map_Kd.

Colours are taken as sRGB, as OBJ files are written; v = 0 is the last row of an image there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from stages.ingesting import references
from stages.rendering import images
from stages.rendering.model import Limits, Material, Model, Texture, fans, linear_of_srgb, part, srgb_colors
from stages.stage import StageError


@dataclass
class _Surface:
    diffuse: tuple[float, ...] = (0.8, 0.8, 0.8)
    emission: tuple[float, ...] = (0.0, 0.0, 0.0)
    opacity: float = 1.0
    texture: str | None = None  # its name among the members
    masked: bool = False
    read: Texture | None = field(default=None, repr=False)


@dataclass
class _Statements:
    """The lines of an OBJ file, by kind."""

    vertices: list[bytes] = field(default_factory=list)
    uv: list[bytes] = field(default_factory=list)
    normals: list[bytes] = field(default_factory=list)
    faces: dict[bytes, list[bytes]] = field(default_factory=lambda: defaultdict(list))  # by material


def read(members: dict[str, bytes], name: str, limits: Limits, max_side: int) -> Model:
    model = Model()
    text = members[name].replace(b"\\\n", b" ").replace(b"\\\r\n", b" ")
    try:
        statements = _statements(text, limits)
        vertices = _numbers(statements.vertices, 3)
        uv = _numbers(statements.uv, 1)
        normals = _numbers(statements.normals, 3)
        groups = {key: _corners(lines) for key, lines in statements.faces.items()}
    except ValueError as error:
        raise StageError("corrupt_file", f"{name}: {' '.join(str(error).split())[:200]}") from None
    limits.check("faces", sum(len(counts) for _, counts in groups.values()))
    surfaces = _libraries(members, name, model)
    _read_textures(surfaces, [key.decode("utf-8", "replace") for key in groups], members, limits, max_side)
    for key, (corners, counts) in groups.items():
        title = key.decode("utf-8", "replace")
        if title not in surfaces and title and surfaces:
            model.warn(f"missing material: {title[:100]}")
        _add(model, surfaces.get(title, _Surface()), vertices, uv, normals, corners, counts, limits)
    return model


def _statements(text: bytes, limits: Limits) -> _Statements:
    limits.check("vertices", text.count(b"\nv "))
    limits.check("faces", text.count(b"\nf "))
    found = _Statements()
    material = b""
    for line in text.splitlines():
        words = line.split(None, 1)
        if len(words) < 2:
            continue
        keyword, rest = words
        if keyword == b"v":
            found.vertices.append(rest)
        elif keyword == b"f":
            if b"-" in rest:
                rest = _absolute(rest, (len(found.vertices), len(found.uv), len(found.normals)))
            found.faces[material].append(rest)
        elif keyword == b"vt":
            found.uv.append(rest)
        elif keyword == b"vn":
            found.normals.append(rest)
        elif keyword == b"usemtl":
            material = rest.strip()
    return found


def _absolute(face: bytes, counts: tuple[int, int, int]) -> bytes:
    """Indices that count back from the last line read, as plain ones."""
    corners = []
    for corner in face.split(b"#")[0].split():
        numbers = [int(n) if n else 0 for n in corner.split(b"/")]
        plain = [count + n + 1 if n < 0 else n for n, count in zip(numbers, counts, strict=False)]
        corners.append(b"/".join(str(n).encode() if n else b"" for n in plain))
    return b" ".join(corners)


def _numbers(lines: list[bytes], least: int) -> np.ndarray:
    """[N, W] float64; W is the first line's width, missing numbers are 0."""
    if not lines:
        return np.zeros((0, max(least, 2)))
    width = len(lines[0].split(b"#")[0].split())
    words = b" ".join(lines).split()
    if b"#" not in b"".join(lines[:1]) and len(words) == width * len(lines) and width >= least:
        return np.array(words, np.float64).reshape(len(lines), width)
    rows = [[float(word) for word in line.split(b"#")[0].split()] for line in lines]
    width = max(map(len, rows))
    if min(map(len, rows)) < least:
        raise ValueError(f"a line with fewer than {least} numbers")
    return np.array([row + [0.0] * (width - len(row)) for row in rows])


def _corners(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """[C, 3] int64 numbers from 0 of vertex, uv, normal (-1: none) of all corners; [P] corners of each polygon."""
    split = [line.split(b"#")[0].split() for line in lines]
    words = [word for polygon in split for word in polygon]
    slashes = words[0].count(b"/") if words else 0
    empty = b"//" in words[0] if words else False
    if all(word.count(b"/") == slashes and (b"//" in word) == empty for word in words):
        numbers = np.array(b" ".join(words).replace(b"//", b"/0/").replace(b"/", b" ").split(), np.int64)
        table = numbers.reshape(len(words), slashes + 1)
        table = np.hstack([table, np.zeros((len(words), 2 - slashes), np.int64)]) if slashes < 2 else table[:, :3]
    else:
        padded = [(word.split(b"/") + [b"", b""])[:3] for word in words]
        table = np.array([[int(n) if n else 0 for n in row] for row in padded], np.int64)
    return table - 1, np.array([len(polygon) for polygon in split], np.int64)


def _add(
    model: Model, surface: _Surface, vertices: np.ndarray, uv: np.ndarray, normals: np.ndarray,
    corners: np.ndarray, counts: np.ndarray, limits: Limits,
) -> None:  # fmt: skip
    limits.check("faces", int(np.maximum(counts - 2, 0).sum()))
    for column, (table, what) in enumerate(((vertices, "vertex"), (uv, "texture coordinate"), (normals, "normal"))):
        if len(corners) and corners[:, column].max() >= len(table):
            raise StageError("corrupt_file", f"a face names {what} {corners[:, column].max() + 1:,} of {len(table):,}")
    if len(corners) and (corners[:, 0].min() < 0 or corners.min() < -1):
        raise StageError(
            "corrupt_file", "a face counts back beyond the first line, or names vertex 0; they count from 1"
        )
    keys = ((corners[:, 0] * (len(uv) + 1) + corners[:, 1] + 1) * (len(normals) + 1)) + corners[:, 2] + 1
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    rows = corners[first]
    coordinates = np.zeros((len(rows), 4), np.float32)
    if len(uv):
        coordinates[:, :2] = np.where(rows[:, 1:2] >= 0, uv[rows[:, 1], :2] * (1, -1) + (0, 1), 0)
    directions = np.where(rows[:, 2:3] >= 0, normals[rows[:, 2], :3], 0) if len(normals) else None
    colors = None
    if vertices.shape[1] >= 6:
        colors = srgb_colors(vertices[rows[:, 0], 3:6])
    diffuse = (1.0, 1.0, 1.0) if colors is not None and surface == _Surface() else surface.diffuse
    if surface.read is not None and not any(diffuse):
        diffuse = (1.0, 1.0, 1.0)  # written by exporters that mean the texture alone
    alpha = "BLEND" if surface.opacity < 1 else "MASK" if surface.masked else "OPAQUE"
    model.parts.append(
        part(
            vertices[rows[:, 0], :3],
            place.reshape(-1)[fans(counts)],
            Material(color_texture=surface.read, alpha=alpha),
            normals=directions,
            uv=coordinates,
            colors=colors,
            factor=(*linear_of_srgb(np.array(diffuse)), surface.opacity),
            emission=tuple(linear_of_srgb(np.array(surface.emission))),
        )
    )


def _libraries(members: dict[str, bytes], name: str, model: Model) -> dict[str, _Surface]:
    surfaces: dict[str, _Surface] = {}
    for library in references.obj_libraries(members[name].decode("utf-8", "replace")):
        found = [key for key in references.names_of(library, name) if key in members]
        if not found:
            model.warn(f"missing file: {library[:200]}")
            continue
        _library(members, found[0], surfaces, model)
    return surfaces


def _library(members: dict[str, bytes], library: str, surfaces: dict[str, _Surface], model: Model) -> None:
    surface = _Surface()
    for line in members[library].decode("utf-8", "replace").splitlines():
        keyword, _, rest = line.strip().replace("\t", " ").partition(" ")
        rest = rest.strip()
        lower = keyword.lower()
        if lower == "newmtl":
            surface = surfaces.setdefault(rest, _Surface())
        elif lower in ("kd", "ke", "d", "tr"):
            _factor(surface, lower, rest, model)
        elif lower == "map_kd" and rest:
            names = references.names_beside(references.texture_name(rest), library)
            surface.texture = next((key for key in names if key in members), None)
            if surface.texture is None:
                model.warn(f"missing file: {names[0][:200]}")
        elif lower == "map_d":
            surface.masked = True


def _factor(surface: _Surface, keyword: str, rest: str, model: Model) -> None:
    try:
        numbers = tuple(float(word) for word in rest.split() if word != "-halo")
    except ValueError:
        model.warn(f"a {keyword} in the material library is no number: {rest[:60]}")
        return
    if keyword in ("kd", "ke") and numbers:
        color = numbers if len(numbers) == 3 else numbers[:1] * 3
        if keyword == "kd":
            surface.diffuse = color
        else:
            surface.emission = color
    elif numbers:
        opacity = numbers[0] if keyword == "d" else 1 - numbers[0]
        surface.opacity = opacity if 0 < opacity < 1 else 1.0  # 0 comes from programs that take Tr the other way around


def _read_textures(
    surfaces: dict[str, _Surface], used: list[str], members: dict[str, bytes], limits: Limits, max_side: int
) -> None:
    """Images of the materials that faces use, each decoded once."""
    textures: dict[str, Texture] = {}
    left = limits.max_texture_pixels
    for title in used:
        name = surfaces[title].texture if title in surfaces else None
        if name is None:
            continue
        if name not in textures:
            pixels = images.decode(members[name], name, replace(limits, max_texture_pixels=left), max_side)
            left -= pixels.shape[0] * pixels.shape[1]
            textures[name] = Texture(pixels)
        surfaces[title].read = textures[name]
        if surfaces[title].masked and textures[name].pixels[..., 3].min() == 255:
            surfaces[title].masked = False

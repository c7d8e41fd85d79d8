"""OFF as a Model: the text form, with normals, colours of vertices or faces, and polygons of any size."""

from __future__ import annotations

import re

import numpy as np

from stages.rendering.model import UNPAINTED, Limits, Material, Model, fans, part, srgb_colors
from stages.stage import StageError

_HEADER = re.compile(r"^(ST)?(C)?(N)?(4)?OFF\b", re.IGNORECASE)


def read(data: bytes, name: str, limits: Limits) -> Model:
    try:
        return _read(data, name, limits)
    except (ValueError, IndexError) as error:
        raise StageError("corrupt_file", f"{name}: {' '.join(str(error).split())[:200]}") from None


def _read(data: bytes, name: str, limits: Limits) -> Model:
    line_count = data.count(b"\n")
    if line_count > 2 * (limits.max_vertices + limits.max_faces):
        raise StageError("too_large", f"{name} has {line_count:,} lines, more than max_vertices and max_faces can need")
    text = re.sub(r"#[^\n]*", "", data.decode("latin-1")).lstrip()
    kind = _HEADER.match(text)
    if kind is None or kind.group(4):
        raise StageError("unsupported", f"{name} starts {text[:12]!r}; OFF, COFF, NOFF and STOFF are read")
    lines = [line for line in text[kind.end() :].splitlines() if line.strip()]
    vertex_count, face_count = (int(word) for word in lines[0].split()[:2])
    limits.check("vertices", vertex_count)
    limits.check("faces", face_count)
    if len(lines) < 1 + vertex_count + face_count:
        raise StageError("corrupt_file", f"{name} ends after {len(lines) - 1:,} of {vertex_count + face_count:,} lines")
    table = _table(lines[1 : 1 + vertex_count])
    polygons = [line.split() for line in lines[1 + vertex_count : 1 + vertex_count + face_count]]
    counts = np.array([int(words[0]) for words in polygons], np.int64)
    corners = np.array([int(w) for words, n in zip(polygons, counts, strict=True) for w in words[1 : n + 1]], np.int64)
    if counts.sum() != len(corners):
        raise StageError("corrupt_file", f"{name}: a face has fewer corners than it says")
    if len(corners) and (corners.min() < 0 or corners.max() >= vertex_count):
        raise StageError("corrupt_file", f"{name}: a face names vertex {corners.max():,} of {vertex_count:,}")
    triangles = fans(counts)
    limits.check("faces", len(triangles))
    positions, normals = table[:, :3], None
    column = 3
    if kind.group(3):
        normals, column = table[:, 3:6], 6
    colors = srgb_colors(table[:, column : column + 4]) if kind.group(2) and table.shape[1] >= column + 3 else None
    faces = corners[triangles]
    painted = [words[n + 1 : n + 5] for words, n in zip(polygons, counts, strict=True)]
    if colors is None and painted and min(map(len, painted)) >= 3:
        of_faces = srgb_colors(np.array([words[:3] for words in painted], np.float64))
        owner = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
        positions, normals, colors = positions[faces].reshape(-1, 3), None, np.repeat(of_faces[owner], 3, axis=0)
        faces = np.arange(len(positions)).reshape(-1, 3)
    alpha = "BLEND" if colors is not None and colors[:, 3].min(initial=1) < 1 else "OPAQUE"
    factor = UNPAINTED if colors is None else (1.0, 1.0, 1.0, 1.0)
    return Model([part(positions, faces, Material(alpha=alpha), normals=normals, colors=colors, factor=factor)])


def _table(lines: list[str]) -> np.ndarray:
    """[N, W] float64"""
    rows = [line.split() for line in lines]
    width = min(map(len, rows), default=3)
    if width < 3:
        raise ValueError("a vertex with fewer than 3 numbers")
    return np.array([row[:width] for row in rows], np.float64).reshape(len(rows), width)

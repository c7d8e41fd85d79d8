"""Read OFF files: the text form, with normals, colours of vertices or faces, and polygons of any shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.colors import UNPAINTED, WHITE, srgb_colors
from stages.meshes.mesh_file import MeshFile
from stages.meshes.model import Limits, Material, Model, make_part
from stages.meshes.polygons import triangles
from stages.meshes.references import comments
from stages.meshes.text_numbers import LONG_LINE, most_words, numbers_of, table_of

_KEYWORD = re.compile(rb"^(ST)?(C)?(N)?(4)?OFF(?![A-Z_])", re.IGNORECASE)  # ModelNet40 has files with OFF490 518 0
_LINE = re.compile(rb"[^\r\n]+")
_FURTHER_WORDS = 16  # the most words of a face's line besides a corner for each triangle; no colour has as many


class OffFile(MeshFile):
    format = "off"
    endings = (".off",)

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        return _KEYWORD.match(_without_comments(head.lstrip()[:4096])) is not None

    def check(self) -> None:
        words = _KEYWORD.sub(b"", _without_comments(self.data[:65536]), count=1).split(maxsplit=3)
        if words[:1] == [b"BINARY"]:
            raise StageError("unsupported", f"{self.name} is a binary OFF file; only text is read")
        try:
            vertices, faces = int(words[0]), int(words[1])
        except (ValueError, IndexError):
            detail = "the header does not give the numbers of vertices and faces"
            raise StageError("corrupt_file", f"{self.name}: {detail}") from None
        least = vertices * 6 + faces * 2  # bytes: "0 0 0\n" and "0\n" are the shortest lines
        if vertices < 0 or faces < 0 or least > len(self.data):
            declared = f"{vertices:,} vertices and {faces:,} faces, too many for {len(self.data):,} bytes"
            raise StageError("corrupt_file", f"{self.name}: the header declares {declared}")

    def remarks(self, members: Mapping[str, bytes]) -> str:
        return comments(self.data)

    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        try:
            return _read(self.data, self.name, limits)
        except (ValueError, IndexError, OverflowError) as error:
            raise StageError("corrupt_file", f"{self.name}: {' '.join(str(error).split())[:200]}") from None


def _without_comments(data: bytes) -> bytes:
    return re.sub(rb"#[^\r\n]*", b"", data.removeprefix(b"\xef\xbb\xbf")).lstrip()


def _read(data: bytes, name: str, limits: Limits) -> Model:
    line_count = data.count(b"\n") + data.count(b"\r")
    if line_count > 4 * (limits.max_vertices + limits.max_faces):
        detail = f"{line_count:,} lines, more than max_vertices and max_faces allow"
        raise StageError("too_large", f"{name} has {detail}")
    text = _without_comments(data)
    kind = _KEYWORD.match(text)
    if kind is None or kind.group(4):
        raise StageError("unsupported", f"{name} starts with {text[:12]!r}; OFF, COFF, NOFF and STOFF are read")
    words = (line[0] for line in _LINE.finditer(text, kind.end()) if not line[0].isspace())
    vertex_count, face_count = (int(word) for word in next(words, b"").split(None, 2)[:2])
    limits.check("vertices", vertex_count)
    limits.check("faces", face_count)
    lines = list(islice(words, vertex_count + face_count))
    if len(lines) < vertex_count + face_count:
        detail = f"{vertex_count + face_count:,} lines, but has {len(lines):,}"
        raise StageError("corrupt_file", f"{name} declares {detail}")
    if not face_count:
        raise StageError("no_faces", "the file has points and no triangles")
    table = table_of(lines[:vertex_count], 3, 10)
    corners, counts, extras = _polygons(lines[vertex_count:], limits)
    if len(corners) and (corners.min() < 0 or corners.max() >= vertex_count):
        wrong = corners.min() if corners.min() < 0 else corners.max()
        raise StageError("corrupt_file", f"{name}: a face uses vertex {wrong:,}, but there are {vertex_count:,}")
    return _model(kind, table, corners, counts, extras)


def _model(kind: re.Match[bytes], table: np.ndarray, corners: np.ndarray, counts: np.ndarray, extras: _Extras) -> Model:
    positions, normals, column = table[:, :3], None, 3
    if kind.group(3) and table.shape[1] >= 6:
        normals, column = table[:, 3:6], 6
    colors = srgb_colors(table[:, column : column + 4]) if kind.group(2) and table.shape[1] >= column + 3 else None
    faces = triangles(positions[corners], counts)
    model = Model()
    face_colors = _face_colors(extras, model) if colors is None else None
    if face_colors is not None:
        positions, colors = positions[corners], np.repeat(face_colors, counts, axis=0)
        normals = normals[corners] if normals is not None else None
    else:
        faces = corners[faces]
    alpha = "BLEND" if colors is not None and colors[:, 3].min(initial=1) < 1 else "OPAQUE"
    factor, material = UNPAINTED if colors is None else WHITE, Material(alpha=alpha)
    model.parts.append(make_part(positions, faces, material, normals=normals, colors=colors, factor=factor))
    return model


@dataclass(frozen=True)
class _Extras:
    """The numbers behind the corners on the line of each polygon."""

    numbers: np.ndarray  # of all lines
    starts: np.ndarray  # [P] where those behind the corners start
    counts: np.ndarray  # [P]


def _polygons(lines: list[bytes], limits: Limits) -> tuple[np.ndarray, np.ndarray, _Extras]:
    """[C] vertex of each corner, [P] corners of each polygon, and the further numbers on each polygon's line."""
    for line in lines:
        if len(line) > LONG_LINE:
            limits.check("faces", most_words(line) - _FURTHER_WORDS)
    widths = np.fromiter(map(len, map(bytes.split, lines)), np.int64, len(lines))
    limits.check("faces", int(np.maximum(widths - _FURTHER_WORDS, 0).sum()))
    numbers = numbers_of(b" ".join(lines))
    if len(numbers) != widths.sum():
        raise ValueError("a face line has a word that is not a number")
    starts = np.cumsum(widths) - widths
    counts = numbers[starts].astype(np.int64)
    if (counts < 0).any() or (counts >= widths).any():
        raise ValueError("a face has fewer corners than its line declares")
    limits.check("faces", int(np.maximum(counts - 2, 0).sum()))
    firsts = np.cumsum(counts) - counts
    corners = numbers[np.repeat(starts + 1 - firsts, counts) + np.arange(counts.sum())].astype(np.int64)
    return corners, counts, _Extras(numbers, starts + counts + 1, widths - counts - 1)


def _face_colors(extras: _Extras, model: Model) -> np.ndarray | None:
    """[P, 4] float32 linear, grey where a face has none; None where no face has one."""
    if (extras.counts == 1).any():
        model.warn("colours that are numbers of a colour map are not known")
    painted = extras.counts >= 3
    if not painted.any():
        return None
    colors = np.tile(np.array(UNPAINTED, np.float32), (len(painted), 1))
    firsts = extras.starts[painted]
    values = extras.numbers[firsts[:, None] + np.arange(3)]
    with_alpha = extras.counts[painted] > 3
    opaque = np.full(len(firsts), 255.0 if values.max() > 2 else 1.0)
    opaque[with_alpha] = extras.numbers[firsts[with_alpha] + 3]
    colors[painted] = srgb_colors(np.column_stack([values, opaque]))
    return colors

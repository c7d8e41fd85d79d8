"""STL as a Model: binary or text. The format has no colours, and its normals are those of the faces."""

from __future__ import annotations

import re

import numpy as np

from stages.rendering.model import UNPAINTED, Limits, Material, Model, part
from stages.stage import StageError

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VERTEX = re.compile(rb"^[ \t]*vertex[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE | re.IGNORECASE)


def read(data: bytes, name: str, limits: Limits) -> Model:
    count = int.from_bytes(data[80:84], "little")
    if b"\0" in data[:1024] or len(data) == 84 + 50 * count:
        limits.check("faces", count)
        limits.check("vertices", 3 * count)
        corners = np.frombuffer(data, _TRIANGLE, count, 84)["corners"].reshape(-1, 3)
    else:
        limits.check("faces", data.lower().count(b"endfacet"))
        corners = _text(data, name)
    faces = np.arange(len(corners)).reshape(-1, 3)
    return Model([part(corners, faces, Material(), factor=UNPAINTED)])


def _text(data: bytes, name: str) -> np.ndarray:
    """[3 F, 3] float64"""
    words = _VERTEX.findall(data)
    if len(words) % 3 or len(words) != 3 * data.lower().count(b"endfacet"):
        raise StageError("corrupt_file", f"{name} is cut short: {len(words):,} vertices do not make whole triangles")
    try:
        return np.array(words, np.float64).reshape(-1, 3)
    except ValueError as error:
        raise StageError("corrupt_file", f"{name}: {' '.join(str(error).split())[:200]}") from None

"""STL as a Model: binary or text. Normals are those of the faces, colours what two programs put into binary files.

Both write 5 bits each of red, green and blue in the two bytes behind a triangle, as sRGB. Materialise Magics has the
colour of all others in the header, behind COLOR=, red in the lowest bits, and bit 15 says that a triangle has none of
its own. VisCAM and SolidView have blue in the lowest bits, and bit 15 says that a triangle has one.
"""

from __future__ import annotations

import re

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.model import UNPAINTED, Limits, Material, Model, part, srgb_colors
from stages.meshes.text_numbers import numbers_of

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VERTEX = re.compile(rb"\bvertex\s+([-+.\dni]\S*\s+\S+\s+\S+)", re.IGNORECASE)
_OWN = 1 << 15


def read(data: bytes, name: str, limits: Limits) -> Model:
    count = int.from_bytes(data[80:84], "little")
    binary = b"\0" in data[:1024] or len(data) == 84 + 50 * count
    if not binary:
        count = data.lower().count(b"endfacet")
    if not count:
        raise StageError("no_faces", f"{name} has no triangles")
    limits.check("faces", count)
    limits.check("vertices", 3 * count)
    colors = None
    if binary:
        table = np.frombuffer(data, _TRIANGLE, count, 84)
        corners, colors = table["corners"].reshape(-1, 3), _colors(data[:80], table["attribute"])
    else:
        corners = _text(data, name, count)
    factor = UNPAINTED if colors is None else (1.0, 1.0, 1.0, 1.0)
    model = Model([part(corners, np.arange(len(corners)), Material(), colors=colors, factor=factor)])
    if binary and len(data) > 84 + 50 * count:
        model.warn(f"{len(data) - 84 - 50 * count:,} bytes behind the {count:,} triangles that the header tells of")
    return model


def _text(data: bytes, name: str, count: int) -> np.ndarray:
    """[3 F, 3] float64"""
    found = _VERTEX.findall(data)
    if len(found) != 3 * count:
        raise StageError("corrupt_file", f"{name} has {len(found):,} vertices, which do not make {count:,} triangles")
    numbers = numbers_of(b" ".join(found))
    if len(numbers) != 9 * count:
        raise StageError("corrupt_file", f"{name}: a vertex is not of three numbers")
    return numbers.reshape(-1, 3)


def _colors(header: bytes, attributes: np.ndarray) -> np.ndarray | None:
    """[3 F, 4] float32 linear; None where the file has no colours."""
    own = attributes & _OWN != 0
    fives = np.stack([attributes & 31, attributes >> 5 & 31, attributes >> 10 & 31], 1) / 31
    told = header.find(b"COLOR=")
    if 0 <= told <= len(header) - 10:
        common = np.frombuffer(header, np.uint8, 3, told + 6) / 255
        painted = srgb_colors(np.where(own[:, None], common, fives))
    elif own.any() and not attributes[~own].any():  # else the bytes mean something else
        painted = srgb_colors(fives[:, ::-1])
        painted[~own] = UNPAINTED
    else:
        return None
    return np.repeat(painted, 3, axis=0)

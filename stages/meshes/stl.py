"""Read STL files, binary or text. Normals are those of the faces; colours are those that two programs write.

Both write 5 bits each of red, green and blue into the two bytes after a binary triangle, as sRGB. Materialise Magics
gives the colour of all other triangles in the header, after COLOR=; red is in the lowest bits, and bit 15 says that a
triangle has no colour of its own. VisCAM and SolidView have blue in the lowest bits, and bit 15 says that a triangle
has a colour.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.colors import UNPAINTED, WHITE, srgb_colors
from stages.meshes.mesh_file import MeshFile
from stages.meshes.model import Limits, Material, Model, make_part
from stages.meshes.text_numbers import numbers_of

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_BODY = 84  # where the triangles of a binary file start, after 80 bytes of header and their number
_VERTEX = re.compile(rb"\bvertex\s+([-+.\dni]\S*\s+\S+\s+\S+)", re.IGNORECASE)
_BIT_15 = 1 << 15


class StlFile(MeshFile):
    format = "stl"
    endings = (".stl",)

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        if len(data) >= _BODY and _binary_size(_declared(data)) == len(data):
            return True
        head = head.lower()
        return head.lstrip()[:5] == b"solid" and (b"facet" in head or b"endsolid" in head)

    @staticmethod
    def sniff_damaged(data: bytes, head: bytes) -> bool:
        return len(data) >= _BODY and b"\0" in head  # a binary file that declares a wrong number of triangles

    def check(self) -> None:
        start = self.data[:1024].removeprefix(codecs.BOM_UTF8)
        if b"\0" not in start and start.lstrip()[:5].lower() == b"solid":
            return  # a text file declares nothing
        count = _declared(self.data)
        if _binary_size(count) > len(self.data):
            sizes = f"{_binary_size(count):,} bytes, but the file has {len(self.data):,}"
            raise StageError("corrupt_file", f"{self.name}: the header declares {count:,} triangles, {sizes}")

    def remarks(self, members: Mapping[str, bytes]) -> str:
        return self.data[:80].decode("latin-1")

    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        count = _declared(self.data)
        binary = b"\0" in self.data[:1024] or len(self.data) == _binary_size(count)
        if not binary:
            text = self.data.lower()
            count = text.count(b"endfacet")
            limits.check("vertices", text.count(b"vertex"))
        if not count:
            raise StageError("no_faces", f"{self.name} has no triangles")
        limits.check("faces", count)
        limits.check("vertices", 3 * count)
        colors = None
        if binary:
            table = np.frombuffer(self.data, _TRIANGLE, count, _BODY)
            corners, colors = table["corners"].reshape(-1, 3), _colors(self.data[:80], table["attribute"])
        else:
            corners = self._text_corners(count)
        factor = UNPAINTED if colors is None else WHITE
        model = Model([make_part(corners, np.arange(len(corners)), Material(), colors=colors, factor=factor)])
        if binary and len(self.data) > _binary_size(count):
            extra = len(self.data) - _binary_size(count)
            model.warn(f"{extra:,} bytes behind the {count:,} triangles that the header tells of")
        return model

    def _text_corners(self, count: int) -> np.ndarray:
        """[3 F, 3] float64"""
        found = _VERTEX.findall(self.data)
        if len(found) != 3 * count:
            detail = f"{len(found):,} vertices for {count:,} triangles, expected {3 * count:,}"
            raise StageError("corrupt_file", f"{self.name} has {detail}")
        numbers = numbers_of(b" ".join(found))
        if len(numbers) != 9 * count:
            raise StageError("corrupt_file", f"{self.name}: a vertex is not three numbers")
        return numbers.reshape(-1, 3)


def _declared(data: bytes) -> int:
    """The number of triangles in the header of a binary file."""
    return int.from_bytes(data[80:_BODY], "little")


def _binary_size(count: int) -> int:
    return _BODY + _TRIANGLE.itemsize * count


def _colors(header: bytes, attributes: np.ndarray) -> np.ndarray | None:
    """[3 F, 4] float32 linear; None where the file has no colours."""
    flagged = attributes & _BIT_15 != 0
    fives = np.stack([attributes & 31, attributes >> 5 & 31, attributes >> 10 & 31], 1) / 31
    keyword = header.find(b"COLOR=")
    if 0 <= keyword <= len(header) - 10:
        common = np.frombuffer(header, np.uint8, 3, keyword + 6) / 255
        painted = srgb_colors(np.where(flagged[:, None], common, fives))
    elif flagged.any() and not attributes[~flagged].any():  # else the bytes mean something else
        painted = srgb_colors(fives[:, ::-1])
        painted[~flagged] = UNPAINTED
    else:
        return None
    return np.repeat(painted, 3, axis=0)

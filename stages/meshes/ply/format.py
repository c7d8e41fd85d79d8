"""Recognise and check PLY files, and list their textures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stages.contract.stage import StageError
from stages.meshes.mesh_file import Companion, MeshFile
from stages.meshes.model import Limits, Model
from stages.meshes.ply.elements import TYPES
from stages.meshes.references import decoded

_END = re.compile(rb"end_header[ \t]*\r?\n?")
_COMMENT = re.compile(r"^(?:comment|obj_info)[ \t]+(.{1,1000})", re.MULTILINE)
_TEXTURE = re.compile(r"^comment[ \t]+TextureFile[ \t]+(.+)$", re.MULTILINE | re.IGNORECASE)


class PlyFile(MeshFile):
    format = "ply"
    endings = (".ply",)

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        return re.match(rb"ply[ \t]*[\r\n]", head) is not None

    def check(self) -> None:
        end = _END.search(self.data[: 1 << 20])
        if end is None:
            raise StageError("corrupt_file", f"{self.name}: the PLY header has no end_header")
        text = self.data[: end.start()].decode("latin-1")
        binary = re.search(r"^format[ \t]+binary", text, re.MULTILINE) is not None
        available = len(self.data) - end.end() + (not binary)  # nothing has to follow the last word of a text
        count, row_bytes, needed, element = 0, 0, 0, ""
        for words in [line.split() for line in text.splitlines()] + [["element", "", "0"]]:
            if words[:1] == ["element"]:
                needed += count * row_bytes
                if count and needed > available:
                    detail = f"the header declares {count:,} rows of {element[:60]!r}, more than the file can hold"
                    raise StageError("corrupt_file", f"{self.name}: {detail}")
                if len(words) != 3 or not re.fullmatch("[0-9]{1,18}", words[2]):
                    detail = f"the header line {' '.join(words)[:80]!r} is not 'element NAME NUMBER'"
                    raise StageError("corrupt_file", f"{self.name}: {detail}")
                element, count, row_bytes = words[1], int(words[2]), 0
            elif words[:1] == ["property"]:
                row_bytes += _least_bytes(words) if binary else 2

    def companions(self) -> Iterable[Companion]:
        """The textures that the header names in comments, as MeshLab writes them."""
        header = decoded(self.data[: max(self.data.find(b"end_header"), 0)])
        return [Companion(name.rstrip(" \t\r")) for name in _TEXTURE.findall(header)]

    def remarks(self, members: Mapping[str, bytes]) -> str:
        return "\n".join(_COMMENT.findall(decoded(self.data[: max(self.data.find(b"end_header"), 0)])))

    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        from stages.meshes.ply import reader

        return reader.read(self, members, limits, max_side)


def _least_bytes(words: list[str]) -> int:
    """The fewest bytes that a property takes in a row of a binary file: an empty list is only its length."""
    if len(words) < 3:
        return 2
    kind = TYPES.get(words[2 if words[1] == "list" else 1])
    return int(kind[1]) if kind else 1

"""Recognise OBJ files, and list their material libraries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stages.meshes.mesh_file import Companion, MeshFile
from stages.meshes.model import Limits, Model
from stages.meshes.obj import mtl
from stages.meshes.references import decoded

_LINE = re.compile(rb"^[ \t]*(v|vn|vt|f|o|g|s|mtllib|usemtl)[ \t]+\S", re.MULTILINE)
_LIBRARY = re.compile(rb"(?:^|\r)(?:\xef\xbb\xbf)?[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE)


class ObjFile(MeshFile):
    format = "obj"
    endings = (".obj",)

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        return b"\0" not in head and _LINE.search(head) is not None

    def companions(self) -> Iterable[Companion]:
        """The libraries after `mtllib`: one whose name may contain spaces, or several that each end in .mtl."""
        names: list[str] = []
        if b"mtllib" in self.data:
            for line in _LIBRARY.findall(self.data):
                names += re.split(r"(?<=\.mtl)\s+", decoded(line).strip().strip('"'), flags=re.IGNORECASE)
        return [Companion(name, companions=mtl.companions) for name in dict.fromkeys(names)]

    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        from stages.meshes.obj import reader

        return reader.read(self, members, limits, max_side)

"""Recognise OBJ files, and list their material libraries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stages.contract.stage import StageError
from stages.meshes.mesh_file import Companion, MeshFile
from stages.meshes.model import Limits, Model
from stages.meshes.obj import mtl
from stages.meshes.references import comments, decoded

_LINE = re.compile(rb"^[ \t]*(v|vn|vt|f|o|g|s|mtllib|usemtl)[ \t]+\S", re.MULTILINE)
_LIBRARY = re.compile(rb"(?:^|\r)(?:\xef\xbb\xbf)?[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE)
_MOST_LIBRARIES = 1000
_LONGEST = 1 << 16  # bytes of names on one line


class ObjFile(MeshFile):
    format = "obj"
    endings = (".obj",)

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        return b"\0" not in head and _LINE.search(head) is not None

    def companions(self) -> Iterable[Companion]:
        """The libraries after `mtllib`: one whose name may contain spaces, or several that each end in .mtl."""
        names: dict[str, None] = {}
        seen: set[bytes] = set()
        for line in _LIBRARY.finditer(self.data) if b"mtllib" in self.data else ():
            text = line[1][:_LONGEST]
            if text not in seen:
                seen.add(text)
                found = re.split(r"(?<=\.mtl)\s+", mtl.without_comment(decoded(text)).strip('"'), flags=re.IGNORECASE)
                names |= dict.fromkeys(found)
            if len(names) > _MOST_LIBRARIES:
                detail = f"{self.name} names more than {_MOST_LIBRARIES:,} material libraries"
                raise StageError("too_large", detail)
        return [Companion(name, companions=mtl.companions) for name in names]

    def remarks(self, members: Mapping[str, bytes]) -> str:
        libraries = (data for name, data in members.items() if name.lower().endswith(".mtl"))
        return "\n".join(map(comments, (self.data, *libraries)))

    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        from stages.meshes.obj import reader

        return reader.read(self, members, limits, max_side)

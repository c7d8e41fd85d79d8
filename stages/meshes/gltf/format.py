"""Recognise and check GLB and glTF files, and list their buffers and images."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cached_property

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.gltf.document import Document
from stages.meshes.gltf.fields import Fields
from stages.meshes.gltf.layout import Layout
from stages.meshes.gltf.meshopt import is_fallback
from stages.meshes.mesh_file import Companion, MeshFile
from stages.meshes.model import Limits, Model

_JSON, _BINARY = 0x4E4F534A, 0x004E4942  # types of chunks


class GltfFile(MeshFile):
    format = "gltf"
    endings = (".gltf",)
    y_up = True

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        return head.lstrip().startswith(b"{") and b'"asset"' in data

    @property
    def chunk(self) -> bytes | None:
        """The bytes of the first buffer, where the file itself holds them."""
        return None

    @property
    def _json(self) -> bytes:
        return self.data

    @cached_property
    def document(self) -> Document:
        return Document(self._json, self.name)

    def check(self) -> None:
        _ = self.document

    def companions(self) -> Iterator[Companion]:
        for field, needed in (("buffers", True), ("images", False)):
            for entry in self.document.entries(field):
                uri = entry.text("uri", "")
                if uri and not references.is_embedded(uri) and not is_fallback(entry):
                    yield Companion(uri, needed)

    def check_companions(self, companions: Mapping[str, bytes]) -> None:
        """Refuse buffer views that exceed their buffers, and accessors that exceed their views."""
        buffers = enumerate(self.document.entries("buffers"))
        sizes = [self._buffer_size(buffer, None if index else self.chunk, companions) for index, buffer in buffers]
        layout = Layout(self.document)
        for number in range(self.document.count("bufferViews")):
            view = layout.view(number)
            self.document.entry("buffers", view.buffer)
            size = sizes[view.buffer]
            if size is not None:
                view.check_end(size)
        for number in range(self.document.count("accessors")):
            layout.elements(number)

    def _buffer_size(self, buffer: Fields, chunk: bytes | None, companions: Mapping[str, bytes]) -> int | None:
        """The size of a buffer; None where it has no bytes, or none that are read."""
        uri = buffer.text("uri", "")
        if is_fallback(buffer):
            return None
        if not uri:
            return len(chunk) if chunk is not None else None
        if references.is_embedded(uri):
            return len(self.document.embedded(uri, self.name))
        found = references.find(uri, self.name, companions)
        return len(companions[found]) if found is not None else None

    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        from stages.meshes.gltf import reader
        from stages.meshes.gltf.data import GltfData

        return reader.read(GltfData(self.name, self.document, self.chunk, members, limits), max_side)


class GlbFile(GltfFile):
    format = "glb"
    endings = (".glb",)

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        return head.startswith(b"glTF")

    @property
    def chunk(self) -> bytes | None:
        return self._chunks[1]

    @property
    def _json(self) -> bytes:
        return self._chunks[0]

    @cached_property
    def _chunks(self) -> tuple[bytes, bytes | None]:
        """The JSON and the binary chunk."""
        data, name = self.data, self.name
        if len(data) < 20:
            raise StageError("corrupt_file", f"{name} has {len(data)} bytes, too few for a GLB file")
        version, length, json_length, kind = struct.unpack_from("<IIII", data, 4)
        if version != 2:
            raise StageError("unsupported", f"{name} is glTF {version}; only version 2 is read")
        if length > len(data):
            detail = f"the header declares {length:,} bytes, but the file has {len(data):,}"
            raise StageError("corrupt_file", f"{name}: {detail}")
        start = 20 + json_length
        if start > length or kind != _JSON:
            raise StageError("corrupt_file", f"{name}: the first chunk is not JSON of at most {length - 20:,} bytes")
        if start + 8 > length:
            return data[20:start], None
        binary_length, kind = struct.unpack_from("<II", data, start)
        if kind != _BINARY:
            return data[20:start], None
        end = start + 8 + binary_length
        if end > len(data):
            detail = f"the binary chunk declares {binary_length:,} bytes, but {len(data) - start - 8:,} are left"
            raise StageError("corrupt_file", f"{name}: {detail}")
        return data[20:start], data[start + 8 : end]

"""Recognise and check GLB and glTF files, and list their buffers and images."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.gltf.element_types import COMPONENTS, WIDTHS
from stages.meshes.gltf.meshopt import compressed, is_fallback
from stages.meshes.mesh_file import Companion, MeshFile
from stages.meshes.model import Limits, Model

_MOST_WITHOUT_VIEW = 10_000_000  # elements of an accessor without a buffer view: zeros, or compressed elsewhere
_JSON, _BINARY = 0x4E4F534A, 0x004E4942  # types of chunks


class GltfFile(MeshFile):
    format = "gltf"
    endings = (".gltf",)

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
    def document(self) -> dict[str, Any]:
        try:
            document = json.loads(self._json.decode("utf-8-sig").rstrip("\0 "))
        except (ValueError, RecursionError) as error:
            raise StageError("corrupt_file", f"{self.name}: its JSON cannot be read ({error})") from None
        asset = document.get("asset") if isinstance(document, dict) else None
        if not isinstance(asset, dict):
            raise StageError("corrupt_file", f"{self.name}: its JSON has no asset")
        if str(asset.get("version", "2.0")).split(".")[0] != "2":
            raise StageError("unsupported", f"{self.name} is glTF {asset['version']}; only version 2 is read")
        for field in ("buffers", "images"):
            entries = document.get(field) or []
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise StageError("corrupt_file", f"{self.name}: {field} is not a list of objects")
            if not all(isinstance(entry.get("uri") or "", str) for entry in entries):
                raise StageError("corrupt_file", f"{self.name}: a uri in {field} is not a string")
        return document

    def check(self) -> None:
        _ = self.document

    def companions(self) -> Iterator[Companion]:
        for field, needed in (("buffers", True), ("images", False)):
            for entry in self.document.get(field) or []:
                uri = entry.get("uri")
                if uri and not references.is_embedded(uri) and not is_fallback(entry):
                    yield Companion(uri, needed)

    def check_companions(self, companions: Mapping[str, bytes]) -> None:
        """Refuse buffer views that exceed their buffers, and accessors that exceed their views."""
        buffers = enumerate(self.document.get("buffers") or [])
        sizes = [self._buffer_size(buffer, None if index else self.chunk, companions) for index, buffer in buffers]
        views = self.document.get("bufferViews") or []
        try:
            for index, view in enumerate(views):
                self._check_view(view, index, sizes)
            for index, accessor in enumerate(self.document.get("accessors") or []):
                self._check_accessor(accessor, index, views)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            detail = f"{self.name}: buffer views or accessors are invalid ({error!r})"
            raise StageError("corrupt_file", detail) from None

    def _buffer_size(self, buffer: dict[str, Any], chunk: bytes | None, companions: Mapping[str, bytes]) -> int | None:
        """The size of a buffer; None where it has no bytes, or none that are read."""
        uri = buffer.get("uri")
        if is_fallback(buffer):
            return None
        if not uri:
            return len(chunk) if chunk is not None else None
        if references.is_embedded(uri):
            return len(references.embedded(uri, self.name))
        found = references.find(uri, self.name, companions)
        return len(companions[found]) if found is not None else None

    def _check_view(self, view: dict[str, Any], index: int, sizes: list[int | None]) -> None:
        packed = compressed(view)
        stored = packed or view
        size = sizes[stored["buffer"]]
        if size is not None and stored.get("byteOffset", 0) + stored["byteLength"] > size:
            detail = f"bufferView {index} ends beyond its buffer of {size:,} bytes"
            raise StageError("corrupt_file", f"{self.name}: {detail}")
        if packed and packed["count"] * packed["byteStride"] < view["byteLength"]:
            detail = f"bufferView {index} declares more bytes than its compressed data has"
            raise StageError("corrupt_file", f"{self.name}: {detail}")

    def _check_accessor(self, accessor: dict[str, Any], index: int, views: list[Any]) -> None:
        count = accessor["count"]
        if "bufferView" not in accessor:
            if not 0 <= count <= _MOST_WITHOUT_VIEW:
                detail = f"accessor {index} declares {count:,} elements, but has no data"
                raise StageError("too_large", f"{self.name}: {detail}")
            return
        view = views[accessor["bufferView"]]
        element = np.dtype(COMPONENTS[accessor["componentType"]]).itemsize * WIDTHS[accessor["type"]]
        stride = view.get("byteStride") or element
        needed = accessor.get("byteOffset", 0) + (count - 1) * stride + element if count else 0
        if count < 0 or stride < 0 or needed > view["byteLength"]:
            detail = f"accessor {index} declares {count:,} elements, more than its view can hold"
            raise StageError("corrupt_file", f"{self.name}: {detail}")

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

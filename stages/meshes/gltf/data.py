"""Read the binary data of glTF: buffers, compressed views, accessors and Draco primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.gltf import meshopt
from stages.meshes.gltf.element_types import COMPONENTS, WIDTHS
from stages.meshes.model import Limits

_VERTEX_BYTES = 128  # of decompressed views, for each vertex that max_vertices allows: plenty with skins and colours


class GltfData:
    """A glTF document and its binary data. Ingest has checked its buffer views and accessors."""

    def __init__(
        self, name: str, document: dict[str, Any], chunk: bytes | None, members: Mapping[str, bytes], limits: Limits
    ):
        self.name = name
        self.document = document
        self.members = members
        self.limits = limits
        self._chunk = chunk
        self._buffers: dict[int, bytes] = {}
        self._unpacked: dict[int, memoryview] = {}  # by view
        self._unpacked_bytes = 0

    def list(self, field: str) -> list[Any]:
        return self.document.get(field) or []

    def entry(self, field: str, number: Any) -> Any:
        """An entry of a list. Refuses negative indices too, which Python would count from the end of the list."""
        entries = self.list(field)
        if not isinstance(number, int) or not 0 <= number < len(entries):
            raise StageError("corrupt_file", f"{self.name} uses {field} number {number!r}, but has {len(entries):,}")
        return entries[number]

    def resource(self, uri: str, kind: str) -> bytes | None:
        """The bytes of a uri of this document; None if the file is missing."""
        if references.is_embedded(uri):
            return references.embedded(uri, kind)
        name = references.find(uri, self.name, self.members)
        return self.members[name] if name is not None else None

    def view(self, index: int) -> memoryview:
        view = self.entry("bufferViews", index)
        packed = meshopt.compressed(view)
        if packed is None:
            return self._slice(view)
        if index not in self._unpacked:
            name = f"bufferView {index}"
            self._unpacked_bytes += meshopt.unpacked_bytes(packed, name)
            most = self.limits.max_vertices * _VERTEX_BYTES
            if self._unpacked_bytes > most:
                detail = f"compressed views decompress to {self._unpacked_bytes:,} bytes; max_vertices allows {most:,}"
                raise StageError("too_large", detail)
            self._unpacked[index] = meshopt.unpacked(packed, self._slice(packed), name)
        return self._unpacked[index]

    def _slice(self, stored: dict[str, Any]) -> memoryview:
        """The bytes that a view, or a view's extension, names."""
        number, start = stored["buffer"], stored.get("byteOffset", 0)
        if number not in self._buffers:
            uri = self.entry("buffers", number).get("uri")
            data = self._chunk if uri is None and number == 0 else self.resource(uri, "buffer") if uri else None
            if data is None:
                raise StageError("missing_file", f"buffer {number} has no data")
            self._buffers[number] = data
        return memoryview(self._buffers[number])[start : start + stored["byteLength"]]

    def accessor(self, index: int) -> np.ndarray:
        """[count, width] as stored, or float32 if the accessor is normalised."""
        accessor = self.entry("accessors", index)
        dtype, width = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]]
        count = accessor["count"]
        if "bufferView" in accessor:
            values = self._strided(accessor, dtype, width, count)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            kind = np.dtype(COMPONENTS[sparse["indices"]["componentType"]])
            indices = self._packed(sparse["indices"], kind, 1, sparse["count"])[:, 0]
            values = values.copy()
            values[indices] = self._packed(sparse["values"], dtype, width, sparse["count"])
        return dequantized(values) if accessor.get("normalized") else values

    def _strided(self, accessor: dict[str, Any], dtype: np.dtype, width: int, count: int) -> np.ndarray:
        view = self.view(accessor["bufferView"])
        element = dtype.itemsize * width
        stride = self.list("bufferViews")[accessor["bufferView"]].get("byteStride") or element
        if count == 0:
            return np.zeros((0, width), dtype)
        raw = np.frombuffer(view, np.uint8, (count - 1) * stride + element, accessor.get("byteOffset", 0))
        rows = np.lib.stride_tricks.as_strided(raw, (count, element), (stride, 1), writeable=False)
        return np.ascontiguousarray(rows).view(dtype).reshape(count, width)

    def _packed(self, part: dict[str, Any], dtype: np.dtype, width: int, count: int) -> np.ndarray:
        """Without gaps: the indices or values of a sparse accessor."""
        view = self.view(part["bufferView"])
        return np.frombuffer(view, dtype, count * width, part.get("byteOffset", 0)).reshape(count, width)

    def draco(self, extension: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Attributes by glTF name and the indices of a compressed primitive."""
        import DracoPy

        try:
            decoded = DracoPy.decode(bytes(self.view(extension["bufferView"])))
        except (DracoPy.FileTypeException, ValueError, RuntimeError) as error:
            raise StageError("corrupt_file", f"Draco data cannot be decoded: {error}") from None
        names = {number: name for name, number in extension["attributes"].items()}
        attributes = {
            names[a["unique_id"]]: np.asarray(a["data"]) for a in decoded.attributes if a["unique_id"] in names
        }
        return attributes, np.asarray(decoded.faces, np.int64).reshape(-1)


def dequantized(values: np.ndarray) -> np.ndarray:
    """Normalised integers as float32, in 0..1 or -1..1."""
    if values.dtype.kind == "f":
        return values
    return np.maximum(values.astype(np.float32) / np.iinfo(values.dtype).max, -1)

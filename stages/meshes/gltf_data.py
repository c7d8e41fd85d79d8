"""Reads the binary side of glTF: buffers, packed views, accessors (strided, normalised, sparse), Draco primitives."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.contract.stage import StageError
from stages.ingesting import formats, references
from stages.meshes import gltf_meshopt
from stages.meshes.model import Limits

_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_VERTEX_BYTES = 128  # that compressed views may hold for each vertex of the limit: plenty with skins and colours


class GltfData:
    """A glTF document with what it needs to be read. Its claims have been checked by ingest."""

    def __init__(self, members: dict[str, bytes], name: str, form: str, limits: Limits):
        self.members = members
        self.name = name
        self.limits = limits
        data = members[name]
        self.document: dict[str, Any] = formats.check(data, form, name) or {}
        self._chunk = formats.glb_chunks(data, name)[1] if form == "glb" else None
        self._buffers: dict[int, bytes] = {}
        self._unpacked: dict[int, memoryview] = {}  # by view
        self._unpacked_bytes = 0

    def list(self, field: str) -> list[Any]:
        return self.document.get(field) or []

    def entry(self, field: str, number: Any) -> Any:
        """One of a list; a number that it has not would else count from the list's end, or say nothing of its place."""
        entries = self.list(field)
        if not isinstance(number, int) or not 0 <= number < len(entries):
            raise StageError("corrupt_file", f"{self.name} names {field} number {number!r}, and has {len(entries):,}")
        return entries[number]

    def resource(self, uri: str, kind: str) -> bytes | None:
        """The bytes behind a uri of this document; None where the file is missing."""
        if references.is_embedded(uri):
            return references.embedded(uri, kind)
        found = [name for name in references.names_of(uri, self.name) if name in self.members]
        return self.members[found[0]] if found else None

    def view(self, index: int) -> memoryview:
        view = self.entry("bufferViews", index)
        packed = formats.meshopt(view)
        if packed is None:
            return self._slice(view)
        if index not in self._unpacked:
            place = f"bufferView {index}"
            self._unpacked_bytes += gltf_meshopt.size(packed, place)
            most = self.limits.max_vertices * _VERTEX_BYTES
            if self._unpacked_bytes > most:
                found = f"compressed views of {self._unpacked_bytes:,} bytes when unpacked"
                raise StageError("too_large", f"{found}; max_vertices allows {most:,}")
            self._unpacked[index] = gltf_meshopt.unpacked(packed, self._slice(packed), place)
        return self._unpacked[index]

    def _slice(self, place: dict[str, Any]) -> memoryview:
        number, start = place["buffer"], place.get("byteOffset", 0)
        if number not in self._buffers:
            uri = self.entry("buffers", number).get("uri")
            data = self._chunk if uri is None and number == 0 else self.resource(uri, "buffer") if uri else None
            if data is None:
                raise StageError("missing_file", f"buffer {number} has no data")
            self._buffers[number] = data
        return memoryview(self._buffers[number])[start : start + place["byteLength"]]

    def accessor(self, index: int) -> np.ndarray:
        """[count, width] as stored, or float32 where the accessor is normalised."""
        accessor = self.entry("accessors", index)
        dtype, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]], accessor["count"]
        if "bufferView" in accessor:
            values = self._strided(accessor, dtype, width, count)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            places = self._packed(
                sparse["indices"], np.dtype(_TYPES[sparse["indices"]["componentType"]]), 1, sparse["count"]
            )
            values = values.copy()
            values[places[:, 0]] = self._packed(sparse["values"], dtype, width, sparse["count"])
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

    def _packed(self, place: dict[str, Any], dtype: np.dtype, width: int, count: int) -> np.ndarray:
        view = self.view(place["bufferView"])
        return np.frombuffer(view, dtype, count * width, place.get("byteOffset", 0)).reshape(count, width)

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

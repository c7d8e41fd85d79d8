"""Read the binary data of glTF: buffers, compressed views, accessors and Draco primitives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.gltf import draco, meshopt
from stages.meshes.gltf.document import Document
from stages.meshes.gltf.fields import Fields
from stages.meshes.gltf.layout import Elements, Layout, View
from stages.meshes.model import Limits

_VERTEX_BYTES = 128  # of decompressed views, for each vertex that max_vertices allows: plenty with skins and colours


class GltfData:
    """A glTF document and its binary data."""

    def __init__(
        self, name: str, document: Document, chunk: bytes | None, members: Mapping[str, bytes], limits: Limits
    ):
        self.name = name
        self.document = document
        self.members = members
        self.limits = limits
        self._layout = Layout(document)
        self._chunk = chunk
        self._buffers: dict[int, bytes] = {}
        self._unpacked: dict[int, memoryview] = {}  # by view
        self._unpacked_bytes = 0

    def resource(self, uri: str, kind: str) -> bytes | None:
        """The bytes of a uri of this document; None if the file is missing."""
        if references.is_embedded(uri):
            return self.document.embedded(uri, kind)
        name = references.find(uri, self.name, self.members)
        return self.members[name] if name is not None else None

    def view(self, number: int) -> memoryview:
        view = self._layout.view(number)
        if view.packing is None:
            return self._slice(view)
        if number not in self._unpacked:
            self._unpacked_bytes += view.packing.size
            most = self.limits.max_vertices * _VERTEX_BYTES
            if self._unpacked_bytes > most:
                detail = f"compressed views decompress to {self._unpacked_bytes:,} bytes; max_vertices allows {most:,}"
                raise StageError("too_large", detail)
            self._unpacked[number] = meshopt.unpacked(view.packing, self._slice(view), view.path)
        return self._unpacked[number]

    def _slice(self, view: View) -> memoryview:
        if view.buffer not in self._buffers:
            self._buffers[view.buffer] = self._read_buffer(view.buffer)
        data = self._buffers[view.buffer]
        view.check_end(len(data))
        return memoryview(data)[view.start : view.start + view.length]

    def _read_buffer(self, number: int) -> bytes:
        uri = self.document.entry("buffers", number).text("uri", "")
        data = self.resource(uri, f"buffer {number}") if uri else self._chunk if number == 0 else None
        if data is None:
            raise StageError("missing_file", f"buffer {number} has no data")
        return data

    def accessor(self, number: int, *widths: int, count: int | None = None, least: int = 0) -> np.ndarray:
        """[count, width] as stored, or float32 if the accessor is normalised.

        widths: those that are accepted; count: how many elements there have to be; least: only the first `least`
        elements are read, and there have to be as many.
        """
        accessor = self.document.entry("accessors", number)
        elements = self._layout.elements(number)
        if elements.width not in widths:
            expected = " or ".join(map(str, widths))
            detail = f"{accessor.path} has elements of {elements.width} numbers, expected {expected}"
            raise StageError("corrupt_file", detail)
        if elements.count < least or count not in (None, elements.count):
            detail = f"{accessor.path} has {elements.count:,} elements, expected {count or least:,}"
            raise StageError("corrupt_file", detail)
        values = self._values(elements, least or elements.count)
        if "sparse" in accessor:
            values = self._replaced(accessor, elements, values)
        return dequantized(values) if accessor.flag("normalized") else values

    def _values(self, elements: Elements, count: int) -> np.ndarray:
        if elements.view is None or not count:
            return np.zeros((count, elements.width), elements.dtype)
        length = (count - 1) * elements.stride + elements.row_bytes
        raw = np.frombuffer(self.view(elements.view), np.uint8, length, elements.start)
        shape, strides = (count, elements.row_bytes), (elements.stride, 1)
        rows = np.lib.stride_tricks.as_strided(raw, shape, strides, writeable=False)
        return np.ascontiguousarray(rows).view(elements.dtype).reshape(count, elements.width)

    def _replaced(self, accessor: Fields, elements: Elements, values: np.ndarray) -> np.ndarray:
        """The values with those that a sparse accessor replaces."""
        which, by = self._layout.replaced(accessor, elements)
        if which.count > elements.count:
            detail = f"{which.path} replaces {which.count:,} of {elements.count:,} elements"
            raise StageError("corrupt_file", detail)
        indices = self._values(which, which.count)[:, 0].astype(np.int64)
        if len(indices) and not 0 <= indices.min() <= indices.max() < elements.count:
            raise StageError("corrupt_file", f"{which.path} has indices beyond the {elements.count:,} elements")
        rows = self._values(by, by.count)
        read = indices < len(values)
        values = values.copy()
        values[indices[read]] = rows[read]
        return values

    def draco(self, extension: Fields) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Attributes by glTF name, [N, W] each, and the indices of a compressed primitive."""
        names = {number: name for name, number in extension.inner("attributes").wholes_by_name().items()}
        vertices, faces = self.draco_sizes(extension)
        self.limits.check("vertices", vertices)
        self.limits.check("faces", faces)
        decoded, indices = draco.decode(bytes(self._draco_view(extension)), extension.path)
        attributes = {names[number]: values for number, values in decoded.items() if number in names}
        return attributes, indices

    def draco_sizes(self, extension: Fields) -> tuple[int, int]:
        """The numbers of vertices and faces that compressed data declare; seams may add vertices."""
        return draco.declared(self._draco_view(extension), extension.path)

    def _draco_view(self, extension: Fields) -> memoryview:
        return self.view(extension.whole("bufferView"))


def dequantized(values: np.ndarray) -> np.ndarray:
    """Normalised integers as float32, in 0..1 or -1..1."""
    if values.dtype.kind == "f":
        return values
    return np.maximum(values.astype(np.float32) / np.iinfo(values.dtype).max, -1)

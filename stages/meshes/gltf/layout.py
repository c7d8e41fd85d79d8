"""Say where the bytes of buffer views and the elements of accessors are; refuse those that exceed what holds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.gltf import meshopt
from stages.meshes.gltf.document import Document
from stages.meshes.gltf.fields import Fields, wrong

_COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MOST_WITHOUT_VIEW = 10_000_000  # elements of an accessor without a buffer view: zeros, or compressed elsewhere


@dataclass(frozen=True)
class View:
    """A buffer view: the bytes of a buffer that it takes, as they are or compressed."""

    path: str  # for messages
    buffer: int
    start: int
    length: int
    size: int  # bytes, decompressed
    stride: int  # 0 if elements follow each other without gaps
    packing: meshopt.Packing | None

    def check_end(self, buffer_size: int) -> None:
        if self.start + self.length > buffer_size:
            raise StageError("corrupt_file", f"{self.path} ends beyond its buffer of {buffer_size:,} bytes")


@dataclass(frozen=True)
class Elements:
    """Rows of numbers in a buffer view: those of an accessor, or of a part of a sparse one."""

    path: str  # for messages
    dtype: np.dtype
    width: int
    count: int
    view: int | None  # without a view, all numbers are 0
    start: int = 0
    stride: int = 0

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * self.width


class Layout:
    """The buffer views and accessors of a document."""

    def __init__(self, document: Document):
        self._document = document
        self._views: dict[int, View] = {}
        self._elements: dict[int, Elements] = {}  # by accessor

    def view(self, number: int) -> View:
        if number not in self._views:
            self._views[number] = _view(self._document.entry("bufferViews", number))
        return self._views[number]

    def elements(self, number: int) -> Elements:
        """The elements of an accessor, before those that a sparse accessor replaces."""
        if number not in self._elements:
            self._elements[number] = self._read(self._document.entry("accessors", number))
        return self._elements[number]

    def _read(self, accessor: Fields) -> Elements:
        count, dtype = accessor.whole("count"), _component(accessor)
        kind = accessor.text("type")
        if kind not in _WIDTHS:
            raise wrong(f"{accessor.path}.type", kind, f"one of {', '.join(_WIDTHS)}")
        if "bufferView" in accessor:
            return self._within(accessor, dtype, _WIDTHS[kind], count)
        if count > _MOST_WITHOUT_VIEW:
            raise StageError("too_large", f"{accessor.path} declares {count:,} elements, but has no data")
        return Elements(accessor.path, dtype, _WIDTHS[kind], count, None)

    def replaced(self, accessor: Fields, elements: Elements) -> tuple[Elements, Elements]:
        """Which elements a sparse accessor replaces, and by which."""
        sparse = accessor.inner("sparse")
        count, indices, values = sparse.whole("count"), sparse.inner("indices"), sparse.inner("values")
        return (
            self._within(indices, _component(indices), 1, count),
            self._within(values, elements.dtype, elements.width, count),
        )

    def _within(self, owner: Fields, dtype: np.dtype, width: int, count: int) -> Elements:
        number, start = owner.whole("bufferView"), owner.whole("byteOffset", 0)
        view = self.view(number)
        found = Elements(owner.path, dtype, width, count, number, start, view.stride or dtype.itemsize * width)
        if count and start + (count - 1) * found.stride + found.row_bytes > view.size:
            raise StageError("corrupt_file", f"{owner.path} declares {count:,} elements, more than its view can hold")
        return found


def _view(view: Fields) -> View:
    size, stride = view.whole("byteLength"), view.whole("byteStride", 0)
    extension = meshopt.compressed(view)
    packing = meshopt.packing(extension) if extension is not None else None
    if packing is not None and packing.size < size:
        raise StageError("corrupt_file", f"{view.path} declares more bytes than its compressed data has")
    stored = view if extension is None else extension
    start, length = stored.whole("byteOffset", 0), stored.whole("byteLength")
    return View(view.path, stored.whole("buffer"), start, length, size, stride, packing)


def _component(owner: Fields) -> np.dtype:
    kind = owner.whole("componentType")
    if kind not in _COMPONENTS:
        raise wrong(f"{owner.path}.componentType", kind, f"one of {', '.join(map(str, _COMPONENTS))}")
    return np.dtype(_COMPONENTS[kind])

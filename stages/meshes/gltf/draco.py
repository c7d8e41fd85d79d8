"""Decode primitives of KHR_draco_mesh_compression, after a look at the sizes that their header declares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.contract.stage import StageError

_MESH, _EDGEBREAKER = 1, 1  # the kind of geometry, and the method
_METADATA = 0x8000
_MOST_LEVELS = 100  # of metadata within metadata
_MOST_HEADER = 1 << 20  # bytes, with metadata


def decode(data: bytes, path: str) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Attributes by their ids, [N, W] each, and the indices of the corners."""
    import DracoPy

    try:
        mesh = DracoPy.decode(data)
        attributes = {attribute["unique_id"]: np.asarray(attribute["data"]) for attribute in mesh.attributes}
        return attributes, np.asarray(mesh.faces, np.int64).reshape(-1)
    except (DracoPy.FileTypeException, ValueError, RuntimeError, AttributeError) as error:
        raise StageError("corrupt_file", f"{path}: Draco data cannot be decoded: {error}") from None


def declared(data: memoryview, path: str) -> tuple[int, int]:
    """The numbers of vertices and faces in the header. The decoder takes memory for them before it reads them."""
    try:
        return _declared(_Bytes(data[:_MOST_HEADER]))
    except (IndexError, ValueError) as error:
        raise StageError("corrupt_file", f"{path}: the Draco header is not valid ({error})") from None


def _declared(stream: _Bytes) -> tuple[int, int]:
    if stream.take(5) != b"DRACO":
        raise ValueError("it does not start with DRACO")
    version = stream.whole(1), stream.whole(1)
    kind, method, flags = stream.whole(1), stream.whole(1), stream.whole(2)
    if kind != _MESH:
        raise ValueError("it holds points and no triangles")
    if flags & _METADATA and version >= (1, 3):
        for _ in range(stream.varint()):
            stream.varint()  # the attribute's id
            _skip_metadata(stream)
        _skip_metadata(stream)
    number: Callable[[], int] = stream.varint if version >= (2, 2) or (version >= (2, 0) and method) else stream.four
    if method != _EDGEBREAKER:
        faces, vertices = number(), number()
        return vertices, faces
    stream.take(1)  # how it goes from face to face
    if version < (2, 2):
        number()  # of vertices that were split
    vertices, faces = number(), number()
    return vertices, faces


def _skip_metadata(stream: _Bytes, level: int = 0) -> None:
    if level == _MOST_LEVELS:
        raise ValueError("its metadata are nested too deeply")
    for _ in range(stream.varint()):
        stream.take(stream.whole(1))
        stream.take(stream.varint())
    for _ in range(stream.varint()):
        stream.take(stream.whole(1))
        _skip_metadata(stream, level + 1)


class _Bytes:
    """Reads bytes from the front; IndexError past the end."""

    def __init__(self, data: memoryview):
        self._data = data
        self._at = 0

    def take(self, count: int) -> memoryview:
        if self._at + count > len(self._data):
            raise IndexError("it ends early")
        self._at += count
        return self._data[self._at - count : self._at]

    def whole(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def four(self) -> int:
        return self.whole(4)

    def varint(self) -> int:
        found = 0
        for shift in range(0, 35, 7):
            part = self.whole(1)
            found |= (part & 127) << shift
            if part < 128:
                return found
        raise ValueError("a number has more than five bytes")

"""Decompress buffer views of EXT_meshopt_compression and of its successor, KHR_meshopt_compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.gltf.fields import Fields

EXTENSIONS = ("EXT_meshopt_compression", "KHR_meshopt_compression")  # the same to a reader
_MODES = ("ATTRIBUTES", "TRIANGLES", "INDICES")
_FILTERS = ("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", "COLOR")


@dataclass(frozen=True)
class Packing:
    """How a buffer view is compressed."""

    count: int
    stride: int
    mode: str
    filter: str

    @property
    def size(self) -> int:
        """Bytes of the decompressed view."""
        return self.count * self.stride


def compressed(entry: Fields) -> Fields | None:
    """The extension's object in a buffer view (where its bytes are), or in a buffer (whether it is a fallback)."""
    return entry.extension(*EXTENSIONS)


def is_fallback(buffer: Fields) -> bool:
    """Whether a buffer only repeats what compressed views hold; it may have no bytes, and is never read."""
    extension = compressed(buffer)
    return extension is not None and extension.flag("fallback")


def packing(extension: Fields) -> Packing:
    count, stride = extension.whole("count"), extension.whole("byteStride")
    if not (count and stride):
        raise StageError("corrupt_file", f"{extension.path}: count {count} and byteStride {stride} must be positive")
    return Packing(count, stride, extension.text("mode"), extension.text("filter", "NONE"))


def unpacked(packing: Packing, data: memoryview, view: str) -> memoryview:
    """The bytes of a compressed view. view: its name in messages."""
    import meshopt

    mode, kind = packing.mode, packing.filter
    if mode not in _MODES or kind not in _FILTERS:
        detail = f"{view} has the unknown meshopt mode {mode[:60]!r} or filter {kind[:60]!r}"
        raise StageError("unsupported", detail)
    try:
        rows = meshopt.decode_gltf_buffer(data, packing.count, packing.stride, mode, kind)
    except (ValueError, RuntimeError) as error:
        raise StageError("corrupt_file", f"{view}: meshopt data cannot be decoded: {error}") from None
    return memoryview(rows.reshape(-1).view(np.uint8))

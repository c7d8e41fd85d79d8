"""Buffer views that EXT_meshopt_compression or its successor KHR_meshopt_compression has packed."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.contract.stage import StageError

_MODES = ("ATTRIBUTES", "TRIANGLES", "INDICES")
_FILTERS = ("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", "COLOR")


def size(packed: dict[str, Any], place: str) -> int:
    """Bytes that the view is unpacked to. packed: the extension's object; place: how messages name the view."""
    count, stride = packed["count"], packed["byteStride"]
    if not (isinstance(count, int) and isinstance(stride, int) and count > 0 and stride > 0):
        raise StageError("corrupt_file", f"{place}: count {count!r} and byteStride {stride!r} are no positive integers")
    return count * stride


def unpacked(packed: dict[str, Any], data: memoryview, place: str) -> memoryview:
    import meshopt

    mode, kind = packed["mode"], packed.get("filter", "NONE")
    if mode not in _MODES or kind not in _FILTERS:
        raise StageError("unsupported", f"{place} is packed with mode {mode!r} and filter {kind!r}")
    try:
        rows = meshopt.decode_gltf_buffer(data, packed["count"], packed["byteStride"], mode, kind)
    except (ValueError, RuntimeError) as error:
        raise StageError("corrupt_file", f"{place}: meshopt data cannot be decoded: {error}") from None
    return memoryview(rows.reshape(-1).view(np.uint8))

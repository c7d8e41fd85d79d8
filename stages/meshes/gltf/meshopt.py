"""Decompress buffer views of EXT_meshopt_compression and of its successor, KHR_meshopt_compression."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.contract.stage import StageError

EXTENSIONS = ("EXT_meshopt_compression", "KHR_meshopt_compression")  # the same to a reader
_MODES = ("ATTRIBUTES", "TRIANGLES", "INDICES")
_FILTERS = ("NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", "COLOR")


def compressed(entry: dict[str, Any]) -> dict[str, Any] | None:
    """The extension's object in a buffer view (where its bytes are), or in a buffer (whether it is a fallback)."""
    extensions = entry.get("extensions")
    found = [extensions[name] for name in EXTENSIONS if name in extensions] if isinstance(extensions, dict) else []
    return found[0] if found and isinstance(found[0], dict) else None


def is_fallback(buffer: dict[str, Any]) -> bool:
    """Whether a buffer only repeats what compressed views hold; it may have no bytes, and is never read."""
    return bool((compressed(buffer) or {}).get("fallback"))


def unpacked_bytes(packed: dict[str, Any], view: str) -> int:
    """The size of a decompressed view. packed: the extension's object; view: the view's name in messages."""
    count, stride = packed["count"], packed["byteStride"]
    if not (isinstance(count, int) and isinstance(stride, int) and count > 0 and stride > 0):
        raise StageError("corrupt_file", f"{view}: count {count!r} and byteStride {stride!r} must be positive integers")
    return count * stride


def unpacked(packed: dict[str, Any], data: memoryview, view: str) -> memoryview:
    import meshopt

    mode, kind = packed["mode"], packed.get("filter", "NONE")
    if mode not in _MODES or kind not in _FILTERS:
        raise StageError("unsupported", f"{view} has the unknown meshopt mode {mode!r} or filter {kind!r}")
    try:
        rows = meshopt.decode_gltf_buffer(data, packed["count"], packed["byteStride"], mode, kind)
    except (ValueError, RuntimeError) as error:
        raise StageError("corrupt_file", f"{view}: meshopt data cannot be decoded: {error}") from None
    return memoryview(rows.reshape(-1).view(np.uint8))

"""Pixels to PNG: straight alpha for colours, 16 bits for depth.

The PNGs are put together here, each row as the difference to the one above. Pillow tries every filter on every row,
which takes three times as long and is no smaller for views: encoding was half of all the time.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

DEPTH_STEPS = 65535
_COMPRESS_LEVEL = 1  # a fraction of the time of higher ones, and views are read more often than shipped
_MEMORY_LEVEL = 9
_GREY, _RGBA = 0, 6  # PNG's colour types
_ABOVE = 2  # PNG's filter type of a row that is given as the difference to the one above


def straight(pixels: np.ndarray) -> np.ndarray:
    """[S, S, 4] uint8: colours that were multiplied by alpha, as they are; black where nothing is, as they were."""
    made = np.array(pixels).reshape(-1, 4)
    alpha = np.ascontiguousarray(made[:, 3])
    edge = np.flatnonzero(alpha - np.uint8(1) < 254)  # what is neither clear nor solid; clear wraps to 255
    shown = made[edge].astype(np.uint16)  # [N, 4]
    made[edge, :3] = np.minimum((shown[:, :3] * 255 + shown[:, 3:] // 2) // shown[:, 3:], 255)
    return made.reshape(pixels.shape)


def color_png(pixels: np.ndarray) -> bytes:
    return _png(straight(pixels), 8, _RGBA)


def depth_png(depth: np.ndarray, scale: float) -> bytes:
    """[S, S] float32 in sphere radii; anything seen is at least one step away, so that 0 stays empty."""
    steps = np.where(depth > 0, np.clip(np.rint(depth / scale), 1, DEPTH_STEPS), 0)
    return _png(steps.astype(">u2"), 16, _GREY)


def _png(pixels: np.ndarray, bits: int, color_type: int) -> bytes:
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _ABOVE
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as PNG has it
    packer = zlib.compressobj(_COMPRESS_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY_LEVEL)
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    content = packer.compress(filtered) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

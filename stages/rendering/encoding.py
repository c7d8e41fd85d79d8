"""Pixels to PNG: straight alpha for colours, 16 bits for depth.

The PNGs are put together here, each row as the difference to the one above. Pillow tries every filter on every row,
which takes three times as long and is no smaller for views: encoding was half of all the time.
"""

from __future__ import annotations

import struct

import numpy as np
from zlib_ng import zlib_ng

from stages.rendering.window import Window

DEPTH_STEPS = 65535
_COMPRESS_LEVEL = 2  # a third of the time that zlib's fastest takes, and smaller
_GREY, _RGBA = 0, 6  # PNG's colour types
_ABOVE = 2  # PNG's filter type of a row that is given as the difference to the one above


def straight(pixels: np.ndarray) -> np.ndarray:
    """[H, W, 4] uint8: colours that were multiplied by alpha, as they are; black where nothing is, as they were."""
    made = np.array(pixels).reshape(-1, 4)
    alpha = np.ascontiguousarray(made[:, 3])
    edge = np.flatnonzero(alpha - np.uint8(1) < 254)  # what is neither clear nor solid; clear wraps to 255
    shown = made[edge].astype(np.uint16)  # [N, 4]
    made[edge, :3] = np.minimum((shown[:, :3] * 255 + shown[:, 3:] // 2) // shown[:, 3:], 255)
    return made.reshape(pixels.shape)


def color_png(pixels: np.ndarray, window: Window, size: int) -> bytes:
    return _png(straight(pixels), window, size, 8, _RGBA)


def depth_png(depth: np.ndarray, scale: float, window: Window, size: int) -> bytes:
    """depth: [H, W] float32 in sphere radii; anything seen is at least one step away, so that 0 stays empty."""
    steps = np.where(depth > 0, np.clip(np.rint(depth / scale), 1, DEPTH_STEPS), 0)
    return _png(steps.astype(">u2"), window, size, 16, _GREY)


def _png(pixels: np.ndarray, window: Window, size: int, bits: int, color_type: int) -> bytes:
    """A square image of zeros with these pixels in the window."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    step = rows.shape[1] // pixels.shape[1]  # bytes a pixel
    filtered = np.zeros((size, 1 + size * step), np.uint8)
    filtered[:, 0] = _ABOVE
    inside = filtered[:, 1 + window.left * step : 1 + window.right * step]
    inside[window.top] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=inside[window.top + 1 : window.bottom])  # modulo 256, as PNG has it
    if window.bottom < size:
        np.negative(rows[-1], out=inside[window.bottom])
    header = struct.pack(">IIBBBBB", size, size, bits, color_type, 0, 0, 0)
    content = zlib_ng.compress(filtered, _COMPRESS_LEVEL)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib_ng.crc32(kind + content))

"""Encode pixels as PNG: straight alpha for colours, 16 bits for depth.

The PNGs are written here, with each row as its difference to the one above. Pillow tries every filter on every row,
which takes three times as long and makes views no smaller.
"""

from __future__ import annotations

import struct

import numpy as np
from zlib_ng import zlib_ng

from stages.rendering.window import Window

DEPTH_STEPS = 65535
_COMPRESS_LEVEL = 2  # a third of the time that zlib's fastest takes, and smaller
_GREY, _RGBA = 0, 6  # PNG's colour types
_ABOVE = 2  # PNG's filter type of a row that is stored as its difference to the one above


def straight(pixels: np.ndarray) -> np.ndarray:
    """[H, W, 4] uint8: colours divided by alpha, of colours that are multiplied by it; black where alpha is 0."""
    made = np.array(pixels).reshape(-1, 4)
    alpha = np.ascontiguousarray(made[:, 3])
    edge = np.flatnonzero(alpha - np.uint8(1) < 254)  # alpha of 1 to 254; 0 wraps to 255
    partial = made[edge].astype(np.uint16)  # [N, 4]
    made[edge, :3] = np.minimum((partial[:, :3] * 255 + partial[:, 3:] // 2) // partial[:, 3:], 255)
    return made.reshape(pixels.shape)


def color_png(pixels: np.ndarray, window: Window, size: int) -> bytes:
    return _png(straight(pixels), window, size, 8, _RGBA)


def depth_png(depth: np.ndarray, scale: float, window: Window, size: int) -> bytes:
    """depth: [H, W] float32 in sphere radii. Anything visible is at least one step away, so that 0 means empty."""
    steps = np.where(depth > 0, np.clip(np.rint(depth / scale), 1, DEPTH_STEPS), 0)
    return _png(steps.astype(">u2"), window, size, 16, _GREY)


def _png(pixels: np.ndarray, window: Window, size: int, bits: int, color_type: int) -> bytes:
    """A square image of zeros, with these pixels in the window."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    step = rows.shape[1] // pixels.shape[1]  # bytes per pixel
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

"""Pixels to PNG: straight alpha for colours, 16 bits for depth."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

DEPTH_STEPS = 65535
_COMPRESS_LEVEL = 1  # a tenth of the time of PIL's default, and views are read more often than shipped


def straight(pixels: np.ndarray) -> np.ndarray:
    """[S, S, 4] uint8: colours that were multiplied by alpha, as they are; black where nothing is."""
    alpha = pixels[..., 3:4].astype(np.uint16)
    colors = (pixels[..., :3].astype(np.uint16) * 255 + alpha // 2) // np.maximum(alpha, 1)
    return np.dstack([np.minimum(colors, 255).astype(np.uint8), pixels[..., 3]])


def color_png(pixels: np.ndarray) -> bytes:
    return _png(Image.fromarray(straight(pixels)))


def depth_png(depth: np.ndarray, scale: float) -> bytes:
    """[S, S] float32 in sphere radii; anything seen is at least one step away, so that 0 stays empty."""
    steps = np.where(depth > 0, np.clip(np.rint(depth / scale), 1, DEPTH_STEPS), 0)
    return _png(Image.fromarray(steps.astype(np.uint16)))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    return buffer.getvalue()

"""Decode texture images to RGBA with 8 bits; sizes are checked before pixels are decoded."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.contract.stage import StageError
from stages.meshes import ktx2
from stages.meshes.model import Limits
from stages.meshes.unknown_files import describe

Image.MAX_IMAGE_PIXELS = None  # decode() checks the size in the header against a setting


class ImageDecoder:
    """Decodes the textures of one mesh, which together may have max_texture_pixels."""

    def __init__(self, limits: Limits, max_side: int):
        self._limits = limits
        self._max_side = max_side

    def decode(self, data: bytes, name: str) -> np.ndarray:
        pixels = decode(data, name, self._limits, self._max_side)
        left = self._limits.max_texture_pixels - pixels.shape[0] * pixels.shape[1]
        self._limits = replace(self._limits, max_texture_pixels=left)
        return pixels


def decode(data: bytes, name: str, limits: Limits, max_side: int) -> np.ndarray:
    """[H, W, 4] uint8. An image with a side longer than max_side is reduced: a small view cannot show more."""
    if data.startswith(ktx2.IDENTIFIER[:8]):
        return np.array(_reduced(Image.fromarray(ktx2.decode(data, name, limits, max_side)), max_side))
    try:
        with Image.open(io.BytesIO(data)) as image:
            limits.check("texture_pixels", image.width * image.height)
            if image.mode == "F":
                raise StageError("unsupported", f"texture {name} has floating-point pixels; 8 and 16 bits are read")
            if image.format == "JPEG":
                image.draft("RGB", (max_side, max_side))
            image.load()
            return np.array(_reduced(_rgba(image), max_side))
    except UnidentifiedImageError:  # its message contains a memory address
        raise StageError("bad_texture", f"texture {name} is not an image that can be read ({describe(data)})") from None
    except (StageError, MemoryError):
        raise
    except Exception as error:  # each of Pillow's decoders raises errors of its own
        detail = " ".join(str(error).split())[:200]
        raise StageError("bad_texture", f"texture {name} cannot be decoded: {detail}") from None


def _reduced(image: Image.Image, max_side: int) -> Image.Image:
    factor = -(-max(image.size) // max_side)
    return image.reduce(factor) if factor > 1 else image


def _rgba(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        levels, clear = np.asarray(image).astype(np.uint32), image.info.get("transparency")
        image = Image.fromarray((levels >> 8).clip(0, 255).astype(np.uint8))
        if isinstance(clear, int):
            image.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return image.convert("RGBA")

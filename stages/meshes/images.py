"""Decode texture images to RGBA with 8 bits; sizes are checked before pixels are decoded."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.contract.stage import StageError
from stages.meshes import image_files, ktx2
from stages.meshes.model import Limits
from stages.meshes.unknown_files import describe

Image.MAX_IMAGE_PIXELS = None  # decode() checks the size in the header against a setting
# Pillow reads more formats: some start other programs (EPS), others hold images of another size than they declare (BLP)
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TGA", "TIFF", "DDS", "PPM")
_MOST_SIDE = 65_535  # pixels; Pillow takes memory for each row too
_TILE_TAGS = (322, 323)  # width and length of a tile of TIFF, which are not bound to those of the image


class ImageDecoder:
    """Decodes the textures of one mesh, which together may have max_texture_pixels."""

    def __init__(self, limits: Limits, max_side: int):
        self._limits = limits
        self._max_side = max_side

    def decode(self, data: bytes, name: str) -> np.ndarray:
        pixels = decode(data, name, self._limits, self._max_side)
        self.count(pixels)
        return pixels

    def count(self, pixels: np.ndarray) -> None:
        """Count pixels that are decoded, or made of those."""
        height, width = pixels.shape[:2]
        self._limits.check("texture_pixels", height * width)
        left = self._limits.max_texture_pixels - height * width
        self._limits = replace(self._limits, max_texture_pixels=left)


def decode(data: bytes, name: str, limits: Limits, max_side: int) -> np.ndarray:
    """[H, W, 4] uint8. An image with a side longer than max_side is reduced: a small view cannot show more."""
    if data.startswith(ktx2.IDENTIFIER[:8]):
        return np.array(_reduced(Image.fromarray(ktx2.decode(data, name, limits, max_side)), max_side))
    try:
        with Image.open(io.BytesIO(image_files.prepared(data, name)), formats=FORMATS) as image:
            _check_size(image, name, limits)
            if image.mode == "F":
                raise StageError("unsupported", f"texture {name} has floating-point pixels; 8 and 16 bits are read")
            if image.format == "JPEG":
                image.draft("RGB", (max_side, max_side))
            size = image.size
            image.load()
            if image.size != size:
                raise ValueError(f"it declares {size} pixels, but has {image.size}")
            return np.array(_reduced(_rgba(image), max_side))
    except UnidentifiedImageError:  # its message contains a memory address
        detail = f"{', '.join(FORMATS)} and KTX2 are read; it {describe(data)}"
        raise StageError("bad_texture", f"texture {name} is not an image of a known format: {detail}") from None
    except (StageError, MemoryError):
        raise
    except Exception as error:  # each of Pillow's decoders raises errors of its own
        detail = " ".join(str(error).split())[:200]
        raise StageError("bad_texture", f"texture {name} cannot be decoded: {detail}") from None


def _check_size(image: Image.Image, name: str, limits: Limits) -> None:
    """Refuse an image that declares too large a size."""
    limits.check("texture_pixels", image.width * image.height)
    if max(image.size) > _MOST_SIDE:
        detail = f"texture {name} has {image.width:,} x {image.height:,} pixels; a side has at most {_MOST_SIDE:,}"
        raise StageError("too_large", detail)
    tags = getattr(image, "tag_v2", {})
    width, length = (tags.get(tag, 1) for tag in _TILE_TAGS)
    if not (isinstance(width, int) and isinstance(length, int)):
        raise ValueError("the size of its tiles is not two whole numbers")
    limits.check("texture_pixels", width * length)


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

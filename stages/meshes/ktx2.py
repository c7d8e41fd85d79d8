"""Decode KTX2 images with Basis Universal (ETC1S or UASTC), at the mip level that a view can show."""

from __future__ import annotations

import struct

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.model import Limits

IDENTIFIER = b"\xabKTX 20\xbb\r\n\x1a\n"
_HEADER = struct.Struct("<8I")  # after the identifier: format, type size, width, height, depth, layers, faces, levels
_LEVELS = 80  # where the list of levels starts
_LEVEL = struct.Struct("<3Q")  # offset, bytes in the file, bytes without Zstandard
_BLOCK_BYTES = 16  # of 4 x 4 pixels at most


def decode(data: bytes, name: str, limits: Limits, max_side: int) -> np.ndarray:
    """[H, W, 4] uint8 as stored, which is sRGB for colours: the largest level within max_side, else the smallest."""
    import opengl_basisu

    width, height, level = _chosen(data, name, max_side)
    limits.check("texture_pixels", width * height)
    _check_level(data, name, level, width, height)
    try:
        return opengl_basisu.open(data).transcode("rgba8", level).data
    except opengl_basisu.UnsupportedError as error:
        raise StageError("unsupported", f"texture {name}: {error}") from None
    except (opengl_basisu.BasisuError, IndexError) as error:
        raise StageError("bad_texture", f"texture {name} cannot be decoded: {error}") from None


def _chosen(data: bytes, name: str, max_side: int) -> tuple[int, int, int]:
    """Width, height and number of the level to decode."""
    if not data.startswith(IDENTIFIER) or len(data) < _LEVELS + _LEVEL.size:
        raise StageError("bad_texture", f"texture {name}: the KTX2 header is incomplete ({len(data):,} bytes)")
    form, _, width, height, depth, layers, faces, levels = _HEADER.unpack_from(data, len(IDENTIFIER))
    if form != 0:
        raise StageError("unsupported", f"texture {name} is KTX2 with vkFormat {form}; Basis Universal (0) is read")
    if depth or layers or faces != 1:
        found = f"depth {depth}, {layers} layers, {faces} faces"
        raise StageError("unsupported", f"texture {name} is KTX2 with {found}; only a single 2D image is read")
    last = min(max(levels, 1), max(width, height).bit_length()) - 1
    if last < 0 or len(data) < _LEVELS + (last + 1) * _LEVEL.size:
        raise StageError("bad_texture", f"texture {name}: {width} x {height} pixels with {levels} levels is not valid")
    level = next((level for level in range(last) if max(width, height) >> level <= max_side), last)
    return max(width >> level, 1), max(height >> level, 1), level


def _check_level(data: bytes, name: str, level: int, width: int, height: int) -> None:
    """Refuse a level that declares too large a size: the transcoder allocates that much memory."""
    _, _, declared = _LEVEL.unpack_from(data, _LEVELS + level * _LEVEL.size)
    most = -(-width // 4) * -(-height // 4) * _BLOCK_BYTES
    if declared > most:
        detail = f"level {level} declares {declared:,} bytes, but has at most {most:,}"
        raise StageError("bad_texture", f"texture {name}: {detail}")

"""Small glTF meshes with KTX2 textures or meshopt compression; they join those of features.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.render.features import feature, textured
from tests.stages import meshes
from tests.stages.meshes import Gltf
from tests.stages.packing import ETC1S_QUARTERS, packed_cube, uastc

_PALETTE = np.random.default_rng(6).integers(30, 256, (8, 8, 4)).astype(np.uint8)
_PALETTE[..., 3] = 255


def _meshopt(extension: str, mode: str) -> None:
    def make() -> bytes:
        return packed_cube(extension, mode).glb()

    make.__name__ = f"meshopt_{extension[:3].lower()}_{mode.lower()}"
    feature(make)


_meshopt("EXT_meshopt_compression", "TRIANGLES")
_meshopt("KHR_meshopt_compression", "INDICES")


def _basis(data: bytes, **material: Any) -> Gltf:
    made = textured(data)
    made.document["textures"][0] = {"extensions": {"KHR_texture_basisu": {"source": 0}}}
    made.document["images"][0]["mimeType"] = "image/ktx2"
    made.document["extensionsRequired"] = ["KHR_texture_basisu"]
    made.document["materials"][0] |= material
    return made


@feature
def ktx2_uastc() -> Gltf:
    return _basis(uastc(meshes.blocks(_PALETTE, 4)))


@feature
def ktx2_uastc_zstandard() -> Gltf:
    return _basis(uastc(meshes.blocks(_PALETTE, 4), zstandard=True))


@feature
def ktx2_levels() -> Gltf:
    halved = [meshes.blocks(_PALETTE, 4 >> level) for level in range(3)]
    return _basis(uastc(*halved, *(_PALETTE[:: 1 << level, :: 1 << level] for level in (1, 2, 3))))


@feature
def ktx2_uastc_alpha() -> Gltf:
    colors = meshes.blocks(_PALETTE, 4)
    colors[::2, :, 3] = 40
    return _basis(uastc(colors), alphaMode="MASK", doubleSided=True)


@feature
def ktx2_etc1s() -> Gltf:
    return _basis(ETC1S_QUARTERS)


@feature
def ktx2_etc1s_alpha() -> Gltf:
    return _basis(ETC1S_QUARTERS, alphaMode="MASK", doubleSided=True)

"""Read the materials of glTF: base colour, emission and alpha. Metalness and roughness are ignored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.meshes.gltf.data import GltfData
from stages.meshes.images import ImageDecoder
from stages.meshes.model import Material, Model, Texture

_REPEAT = 10497
_WRAPS = (_REPEAT, 33071, 33648)  # and CLAMP_TO_EDGE, MIRRORED_REPEAT


@dataclass(frozen=True)
class Slot:
    """The set of texture coordinates that a texture uses, and their transform."""

    uv_set: int = 0
    transform: np.ndarray | None = None  # [2, 3]


@dataclass(frozen=True)
class Surface:
    """A material, and the factors that go into the vertices."""

    material: Material
    factor: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    emission: tuple[float, ...] = (0.0, 0.0, 0.0)
    color_slot: Slot = Slot()
    emission_slot: Slot = Slot()


class Materials:
    """The surfaces of a document by their index; each is read once."""

    def __init__(self, data: GltfData, model: Model, images: ImageDecoder):
        self.data = data
        self.model = model
        self.images = images
        self._surfaces: dict[int | None, Surface] = {}
        self._pixels: dict[int, np.ndarray | None] = {}  # by image
        self._textures: dict[int, Texture | None] = {}

    def surface(self, number: int | None) -> Surface:
        if number not in self._surfaces:
            entry = {} if number is None else self.data.entry("materials", number)
            self._surfaces[number] = self._read(entry)
        return self._surfaces[number]

    def _read(self, entry: dict[str, Any]) -> Surface:
        extensions = entry.get("extensions") or {}
        gloss = extensions.get("KHR_materials_pbrSpecularGlossiness")
        if gloss is not None:
            factor, color = gloss.get("diffuseFactor"), gloss.get("diffuseTexture")
        else:
            metal = entry.get("pbrMetallicRoughness") or {}
            factor, color = metal.get("baseColorFactor"), metal.get("baseColorTexture")
        strength = (extensions.get("KHR_materials_emissive_strength") or {}).get("emissiveStrength", 1.0)
        emission = tuple(float(v) * strength for v in entry.get("emissiveFactor") or (0.0, 0.0, 0.0))
        glow = entry.get("emissiveTexture") if any(emission) else None
        if (extensions.get("KHR_materials_transmission") or {}).get("transmissionFactor"):
            self.model.warn("transmission is drawn as an opaque base colour")
        alpha = entry.get("alphaMode", "OPAQUE")
        color_texture = self._texture(color)
        material = Material(
            color_texture=color_texture,
            emission_texture=self._texture(glow),
            unlit="KHR_materials_unlit" in extensions,
            alpha=alpha if alpha in ("MASK", "BLEND") else "OPAQUE",
            cutoff=float(entry.get("alphaCutoff", 0.5)),
            double_sided=bool(entry.get("doubleSided", False)),
        )
        return Surface(
            material=material,
            factor=tuple(float(v) for v in factor or (1.0, 1.0, 1.0, 1.0)),
            emission=emission,
            color_slot=_slot(color),
            emission_slot=_slot(glow),
        )

    def _texture(self, reference: dict[str, Any] | None) -> Texture | None:
        if reference is None:
            return None
        number = reference["index"]
        if number not in self._textures:
            entry = self.data.entry("textures", number)
            pixels = self._image(self._source(entry))
            self._textures[number] = None if pixels is None else self._sampled(pixels, entry.get("sampler"))
        return self._textures[number]

    def _source(self, entry: dict[str, Any]) -> int | None:
        """The image of a texture; those of extensions come before the plain one."""
        extensions = entry.get("extensions") or {}
        for name in ("KHR_texture_basisu", "EXT_texture_webp", "EXT_texture_avif"):
            if "source" in (extensions.get(name) or {}):
                return extensions[name]["source"]
        return entry.get("source")

    def _image(self, number: int | None) -> np.ndarray | None:
        if number is None:
            self.model.warn("a texture without an image")
            return None
        if number not in self._pixels:
            entry = self.data.entry("images", number)
            name = str(entry.get("uri") or entry.get("name") or f"image {number}")[:200]
            content: bytes | None
            if entry.get("bufferView") is not None:
                content = bytes(self.data.view(entry["bufferView"]))
            else:
                content = self.data.resource(entry.get("uri") or "", name)
            pixels = None
            if content is None:
                self.model.warn(f"missing file: {name}")
            else:
                pixels = self.images.decode(content, name)
            self._pixels[number] = pixels
        return self._pixels[number]

    def _sampled(self, pixels: np.ndarray, number: int | None) -> Texture:
        samplers = self.data.list("samplers")
        if number is not None and number not in range(len(samplers)):
            self.model.warn("a texture names a sampler that the file has not")
            number = None
        sampler = {} if number is None else samplers[number]
        return Texture(
            pixels,
            wrap=(_wrap(sampler, "wrapS"), _wrap(sampler, "wrapT")),
            magnify=9728 if sampler.get("magFilter") == 9728 else 9729,
            minify=9987 if sampler.get("minFilter", 9987) != 9728 else 9984,  # always with mipmaps, against shimmering
        )


def _wrap(sampler: dict[str, Any], name: str) -> int:
    mode = sampler.get(name, _REPEAT)
    return mode if mode in _WRAPS else _REPEAT


def _slot(reference: dict[str, Any] | None) -> Slot:
    if reference is None:
        return Slot()
    change = (reference.get("extensions") or {}).get("KHR_texture_transform")
    uv_set = int(reference.get("texCoord", 0))
    if change is None:
        return Slot(uv_set)
    (x, y), (width, height) = change.get("offset", (0.0, 0.0)), change.get("scale", (1.0, 1.0))
    sine, cosine = math.sin(change.get("rotation", 0.0)), math.cos(change.get("rotation", 0.0))
    matrix = np.array([[cosine * width, sine * height, x], [-sine * width, cosine * height, y]])
    return Slot(int(change.get("texCoord", uv_set)), matrix)

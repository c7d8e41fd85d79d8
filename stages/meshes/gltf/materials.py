"""Read the materials of glTF: base colour, emission and alpha. Metalness and roughness are ignored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.colors import WHITE
from stages.meshes.gltf.data import GltfData
from stages.meshes.gltf.fields import Fields
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
    factor: tuple[float, ...] = WHITE
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
        self._pixels: dict[tuple[str, int | str], np.ndarray | None] = {}  # by buffer view, file or image
        self._textures: dict[int, Texture | None] = {}

    def surface(self, primitive: Fields) -> Surface:
        number = primitive.whole("material") if "material" in primitive else None
        if number not in self._surfaces:
            entry = Fields({}, "") if number is None else self.data.document.entry("materials", number)
            self._surfaces[number] = self._read(entry)
        return self._surfaces[number]

    def _read(self, entry: Fields) -> Surface:
        gloss = entry.extension("KHR_materials_pbrSpecularGlossiness")
        if gloss is not None:
            factor, color = gloss.reals("diffuseFactor", 4, WHITE), _inner(gloss, "diffuseTexture")
        else:
            metal = entry.inner("pbrMetallicRoughness")
            factor, color = metal.reals("baseColorFactor", 4, WHITE), _inner(metal, "baseColorTexture")
        strong = entry.extension("KHR_materials_emissive_strength")
        strength = 1.0 if strong is None else strong.real("emissiveStrength", 1.0)
        emission = tuple(v * strength for v in entry.reals("emissiveFactor", 3, (0.0, 0.0, 0.0)))
        glow = _inner(entry, "emissiveTexture") if any(emission) else None
        transmission = entry.extension("KHR_materials_transmission")
        if transmission is not None and transmission.flag("transmissionFactor"):
            self.model.warn("transmission is drawn as an opaque base colour")
        alpha = entry.text("alphaMode", "OPAQUE")
        color_texture = self._texture(color)
        material = Material(
            color_texture=color_texture,
            emission_texture=self._texture(glow),
            unlit="KHR_materials_unlit" in entry.inner("extensions"),
            alpha=alpha if alpha in ("MASK", "BLEND") else "OPAQUE",
            cutoff=entry.real("alphaCutoff", 0.5),
            double_sided=entry.flag("doubleSided"),
        )
        return Surface(
            material=material,
            factor=factor,
            emission=emission,
            color_slot=_slot(color),
            emission_slot=_slot(glow),
        )

    def _texture(self, reference: Fields | None) -> Texture | None:
        if reference is None:
            return None
        number = reference.whole("index")
        if number not in self._textures:
            entry = self.data.document.entry("textures", number)
            pixels = self._image(_source(entry))
            self._textures[number] = None if pixels is None else self._sampled(pixels, entry)
        return self._textures[number]

    def _image(self, number: int | None) -> np.ndarray | None:
        if number is None:
            self.model.warn("a texture without an image")
            return None
        entry = self.data.document.entry("images", number)
        uri = entry.text("uri", "")
        beside = uri and not references.is_embedded(uri)
        name = references.shown(uri) if beside else (entry.text("name", "") or f"image {number}")[:200]
        key: tuple[str, int | str] = ("image", number)
        if "bufferView" in entry:
            key = ("view", entry.whole("bufferView"))
        elif beside:
            key = ("file", uri)
        if key not in self._pixels:
            content = bytes(self.data.view(int(key[1]))) if key[0] == "view" else self.data.resource(uri, name)
            if content is None:
                self.model.warn(references.missing(uri or name))
            self._pixels[key] = None if content is None else self.images.decode(content, name)
        return self._pixels[key]

    def _sampled(self, pixels: np.ndarray, texture: Fields) -> Texture:
        sampler = Fields({}, "")
        if "sampler" in texture:
            try:
                sampler = self.data.document.target(texture, "sampler", "samplers")
            except StageError:
                self.model.warn("a texture names a sampler that the file has not")
        return Texture(
            pixels,
            wrap=(_wrap(sampler, "wrapS"), _wrap(sampler, "wrapT")),
            magnify=9728 if sampler.whole("magFilter", 9729) == 9728 else 9729,
            minify=9987
            if sampler.whole("minFilter", 9987) != 9728
            else 9984,  # always with mipmaps, against shimmering
        )


def _inner(owner: Fields, name: str) -> Fields | None:
    return owner.inner(name) if name in owner else None


def _source(texture: Fields) -> int | None:
    """The image of a texture; those of extensions come before the plain one."""
    for name in ("KHR_texture_basisu", "EXT_texture_webp", "EXT_texture_avif"):
        extension = texture.extension(name)
        if extension is not None and "source" in extension:
            return extension.whole("source")
    return texture.whole("source") if "source" in texture else None


def _wrap(sampler: Fields, name: str) -> int:
    mode = sampler.whole(name, _REPEAT)
    return mode if mode in _WRAPS else _REPEAT


def _slot(reference: Fields | None) -> Slot:
    if reference is None:
        return Slot()
    change = reference.extension("KHR_texture_transform")
    uv_set = reference.whole("texCoord", 0)
    if change is None:
        return Slot(uv_set)
    (x, y), (width, height) = change.reals("offset", 2, (0.0, 0.0)), change.reals("scale", 2, (1.0, 1.0))
    rotation = change.real("rotation", 0.0)
    sine, cosine = math.sin(rotation), math.cos(rotation)
    matrix = np.array([[cosine * width, sine * height, x], [-sine * width, cosine * height, y]])
    return Slot(change.whole("texCoord", uv_set), matrix)

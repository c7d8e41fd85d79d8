"""Read the materials of OBJ: Kd times map_Kd, Ke times map_Ke, d or Tr, map_d, and the options of texture lines.

Colours are taken as sRGB, as MTL files are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.meshes import references
from stages.meshes.colors import UNPAINTED, linear_of_srgb
from stages.meshes.images import ImageDecoder
from stages.meshes.model import Limits, Material, Model, Texture
from stages.meshes.obj import mtl

if TYPE_CHECKING:
    from stages.meshes.mesh_file import MeshFile

_CLAMP, _REPEAT = 33071, 10497  # GL names
_MAPS = ("map_kd", "map_ke", "map_d")
_MOST_TRANSLUCENT = 0.05  # share of translucent texels above which a surface is blended, like glass, and not cut out


@dataclass(frozen=True)
class TextureLine:
    """A texture line of a library."""

    name: str  # of the member
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamped: bool = False

    def transformed(self, uv: np.ndarray) -> np.ndarray:
        """[N, 2] float64 with v = 0 at the image's first row, of OBJ's texture coordinates."""
        return (uv * self.scale + self.offset) * (1, -1) + (0, 1)


@dataclass
class Surface:
    """A material: the values of its lines, and what follows from them."""

    diffuse: tuple[float, ...] | None = None
    emission: tuple[float, ...] | None = None
    opacity: float | None = None
    transparency: float | None = None
    maps: dict[str, TextureLine] = field(default_factory=dict)
    material: Material = Material()

    @property
    def colorless(self) -> bool:
        """Whether no line gives it a colour."""
        return self.diffuse is None and "map_kd" not in self.maps

    @property
    def alpha(self) -> float:
        alpha = self.opacity if self.opacity is not None else 1 - (self.transparency or 0.0)
        return alpha if 0 < alpha < 1 else 1.0  # 0 comes from programs that use Tr the other way around

    @property
    def factor(self) -> tuple[float, ...]:
        """Linear, with opacity."""
        textured = self.material.color_texture is not None
        if self.diffuse is None:
            color = (1.0, 1.0, 1.0) if textured else UNPAINTED[:3]
        elif textured and not any(self.diffuse):
            color = (1.0, 1.0, 1.0)  # some exporters write black and mean the texture alone
        else:
            color = tuple(linear_of_srgb(np.array(self.diffuse)))
        return (*color, self.alpha)

    @property
    def linear_emission(self) -> tuple[float, ...]:
        if self.emission is None:
            return (1.0, 1.0, 1.0) if self.material.emission_texture is not None else (0.0, 0.0, 0.0)
        return tuple(linear_of_srgb(np.array(self.emission)))


def read_libraries(file: MeshFile, members: Mapping[str, bytes], model: Model, limits: Limits) -> dict[str, Surface]:
    """The surfaces of all libraries that the OBJ file names, by their names."""
    surfaces: dict[str, Surface] = {}
    for uri in (companion.uri for companion in file.companions()):
        library = references.find(uri, file.name, members)
        if library is not None:
            _read_library(members, library, surfaces, model, limits)
        else:
            model.warn(references.missing(uri))
    return surfaces


def _read_library(
    members: Mapping[str, bytes], library: str, surfaces: dict[str, Surface], model: Model, limits: Limits
) -> None:
    surface = Surface()
    for keyword, rest in mtl.lines(members[library]):
        if keyword == "newmtl":
            surface = surfaces.setdefault(rest, Surface())
            limits.check("nodes", len(surfaces), "materials")
        elif keyword in ("kd", "ke", "d", "tr"):
            _read_factor(surface, keyword, rest, model)
        elif keyword in _MAPS:
            uri, options = mtl.texture_line(rest)
            name = references.find(uri, library, members)
            if name is not None:
                surface.maps[keyword] = TextureLine(name, **_transform(options))
            else:
                model.warn(references.missing(uri))


def _read_factor(surface: Surface, keyword: str, rest: str, model: Model) -> None:
    try:
        numbers = tuple(float(word) for word in rest.split("#")[0].split() if word != "-halo")
    except ValueError:
        model.warn(f"a {keyword} in the material library is no number: {rest[:60]}")
        return
    if not numbers or not np.isfinite(numbers).all():
        return
    color = numbers[:3] if len(numbers) >= 3 else numbers[:1] * 3
    if keyword == "kd":
        surface.diffuse = color
    elif keyword == "ke":
        surface.emission = color
    elif keyword == "d":
        surface.opacity = numbers[0]
    else:
        surface.transparency = numbers[0]


def _transform(options: dict[str, list[str]]) -> dict[str, Any]:
    """-s, -o and -clamp of a texture line; a missing number is 1 for -s, 0 for -o."""
    scale, offset = ([float(word) for word in options.get(name, [])][:2] for name in ("-s", "-o"))
    return {
        "scale": tuple([*scale, 1.0, 1.0][:2]),
        "offset": tuple([*offset, 0.0, 0.0][:2]),
        "clamped": options.get("-clamp") == ["on"],
    }


def read_textures(
    surfaces: dict[str, Surface], used: list[str], members: Mapping[str, bytes], images: ImageDecoder
) -> None:
    """Fill the materials of the surfaces that faces use; each image is decoded once."""
    textures = _Textures(members, images)
    for title in used:
        if title in surfaces:
            surface = surfaces[title]
            color, alpha = textures.color_texture(surface.maps)
            surface.material = Material(
                color_texture=color,
                emission_texture=textures.texture(surface.maps.get("map_ke")),
                alpha="BLEND" if surface.alpha < 1 else alpha,
            )


class _Textures:
    """Decoded images and textures by name."""

    def __init__(self, members: Mapping[str, bytes], images: ImageDecoder):
        self._members = members
        self._images = images
        self._pixels: dict[str, np.ndarray] = {}
        self._textures: dict[tuple, Texture] = {}
        self._whites: dict[str, np.ndarray] = {}  # white pixels with the opacity of an image
        self._opacities: dict[tuple[str, bool], tuple[np.ndarray, str]] = {}

    def _image(self, name: str) -> np.ndarray:
        if name not in self._pixels:
            self._pixels[name] = self._images.decode(self._members[name], name)
        return self._pixels[name]

    def texture(self, line: TextureLine | None, opacity: np.ndarray | None = None, of: str = "") -> Texture | None:
        """opacity: [H, W] uint8, taken from the image `of`, replaces the alpha of the image."""
        if line is None:
            return None
        key = (line.name, of, line.clamped)
        if key not in self._textures:
            pixels = self._image(line.name)
            if opacity is not None:
                size = (pixels.shape[1], pixels.shape[0])
                self._images.count(pixels)
                pixels = pixels.copy()
                pixels[..., 3] = np.asarray(Image.fromarray(opacity).resize(size, Image.Resampling.BILINEAR))
            wrap = _CLAMP if line.clamped else _REPEAT
            self._textures[key] = Texture(pixels, wrap=(wrap, wrap))
        return self._textures[key]

    def color_texture(self, maps: dict[str, TextureLine]) -> tuple[Texture | None, str]:
        """The texture and its alpha mode. map_d gives its alpha if it is map_Kd's image or has one, else its green."""
        color, cutout = maps.get("map_kd"), maps.get("map_d")
        if cutout is None:
            return self.texture(color), "OPAQUE"
        same = color is not None and color.name == cutout.name
        opacity, alpha = self._opacity(cutout.name, same)
        if alpha == "OPAQUE":
            return self.texture(color), alpha
        if color is None:
            return self._white(cutout, opacity), alpha
        return self.texture(color, None if same else np.ascontiguousarray(opacity), cutout.name), alpha

    def _opacity(self, name: str, same: bool) -> tuple[np.ndarray, str]:
        """[H, W] uint8 of an image, and the alpha mode that it needs."""
        if (name, same) not in self._opacities:
            pixels = self._image(name)
            opacity = pixels[..., 3] if same or pixels[..., 3].min() < 255 else pixels[..., 1]
            translucent = float(((opacity > 25) & (opacity < 230)).mean())
            alpha = "BLEND" if translucent > _MOST_TRANSLUCENT else "MASK"
            self._opacities[name, same] = opacity, "OPAQUE" if opacity.min() == 255 else alpha
        return self._opacities[name, same]

    def _white(self, line: TextureLine, opacity: np.ndarray) -> Texture:
        if line.name not in self._whites:
            self._whites[line.name] = np.full((*opacity.shape, 4), 255, np.uint8)
            self._whites[line.name][..., 3] = opacity
            self._images.count(self._whites[line.name])
        wrap = _CLAMP if line.clamped else _REPEAT
        return Texture(self._whites[line.name], wrap=(wrap, wrap))

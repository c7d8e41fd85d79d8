"""Material libraries of OBJ: Kd times map_Kd, Ke times map_Ke, d or Tr, map_d, and where a texture lies on its surface.

Colours are taken as sRGB, as MTL files are written.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from stages.ingesting import references
from stages.meshes import images
from stages.meshes.model import UNPAINTED, Limits, Material, Model, Texture, linear_of_srgb

_CLAMP, _REPEAT = 33071, 10497  # GL names
_MAPS = ("map_kd", "map_ke", "map_d")
_BETWEEN = 0.05  # share of half transparent texels from which a surface is glass and not foliage


@dataclass(frozen=True)
class Map:
    """A texture line."""

    name: str  # among the members
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamped: bool = False

    def place(self, uv: np.ndarray) -> np.ndarray:
        """[N, 2] float64 with v = 0 at the image's first row, of texture coordinates as OBJ has them."""
        return (uv * self.scale + self.offset) * (1, -1) + (0, 1)


@dataclass
class Surface:
    """A material: its lines, then what they come to."""

    diffuse: tuple[float, ...] | None = None
    emission: tuple[float, ...] | None = None
    opacity: float | None = None
    transparency: float | None = None
    maps: dict[str, Map] = field(default_factory=dict)
    material: Material = Material()

    @property
    def plain(self) -> bool:
        """Whether nothing is said of its colour."""
        return self.diffuse is None and "map_kd" not in self.maps

    @property
    def alpha(self) -> float:
        told = self.opacity if self.opacity is not None else 1 - (self.transparency or 0.0)
        return told if 0 < told < 1 else 1.0  # 0 comes from programs that take Tr the other way around

    @property
    def factor(self) -> tuple[float, ...]:
        """Linear, with opacity."""
        textured = self.material.color_texture is not None
        if self.diffuse is None:
            color = (1.0, 1.0, 1.0) if textured else UNPAINTED[:3]
        elif textured and not any(self.diffuse):
            color = (1.0, 1.0, 1.0)  # black is written by exporters that mean the texture alone
        else:
            color = tuple(linear_of_srgb(np.array(self.diffuse)))
        return (*color, self.alpha)

    @property
    def light(self) -> tuple[float, ...]:
        """Linear emission."""
        if self.emission is None:
            return (1.0, 1.0, 1.0) if self.material.emission_texture is not None else (0.0, 0.0, 0.0)
        return tuple(linear_of_srgb(np.array(self.emission)))


def read_libraries(members: dict[str, bytes], name: str, model: Model) -> dict[str, Surface]:
    """Surfaces by name, of all libraries that the OBJ file asks for."""
    surfaces: dict[str, Surface] = {}
    for library in references.obj_libraries(members[name]):
        found = [key for key in references.names_of(library, name) if key in members]
        if found:
            _read_library(members, found[0], surfaces, model)
        else:
            model.warn(f"missing file: {library[:200]}")
    return surfaces


def _read_library(members: dict[str, bytes], library: str, surfaces: dict[str, Surface], model: Model) -> None:
    surface = Surface()
    for keyword, rest in references.mtl_lines(members[library]):
        if keyword == "newmtl":
            surface = surfaces.setdefault(rest, Surface())
        elif keyword in ("kd", "ke", "d", "tr"):
            _read_factor(surface, keyword, rest, model)
        elif keyword in _MAPS:
            uri, options = references.texture_line(rest)
            names = references.names_beside(uri, library)
            there = [key for key in names if key in members]
            if there:
                surface.maps[keyword] = Map(there[0], **_placement(options))
            else:
                model.warn(f"missing file: {uri[:200]}")


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


def _placement(options: dict[str, list[str]]) -> dict:
    """-s, -o and -clamp of a texture line; a number that is left out is 1 for -s, 0 for -o."""
    scale, offset = ([float(word) for word in options.get(name, [])][:2] for name in ("-s", "-o"))
    return {
        "scale": tuple([*scale, 1.0, 1.0][:2]),
        "offset": tuple([*offset, 0.0, 0.0][:2]),
        "clamped": options.get("-clamp") == ["on"],
    }


def read_textures(
    surfaces: dict[str, Surface], used: list[str], members: dict[str, bytes], limits: Limits, max_side: int
) -> None:
    """Materials of the surfaces that faces use; each image is decoded once."""
    shelf = _Shelf(members, limits, max_side)
    for title in used:
        if title in surfaces:
            surface = surfaces[title]
            color, alpha = shelf.color_texture(surface.maps)
            surface.material = Material(
                color_texture=color,
                emission_texture=shelf.texture(surface.maps.get("map_ke")),
                alpha="BLEND" if surface.alpha < 1 else alpha,
            )


class _Shelf:
    """Decoded images and textures by name."""

    def __init__(self, members: dict[str, bytes], limits: Limits, max_side: int):
        self.members = members
        self.limits = limits
        self.max_side = max_side
        self._left = limits.max_texture_pixels
        self._pixels: dict[str, np.ndarray] = {}
        self._textures: dict[tuple, Texture] = {}

    def _image(self, name: str) -> np.ndarray:
        if name not in self._pixels:
            limits = replace(self.limits, max_texture_pixels=self._left)
            pixels = images.decode(self.members[name], name, limits, self.max_side)
            self._left -= pixels.shape[0] * pixels.shape[1]
            self._pixels[name] = pixels
        return self._pixels[name]

    def texture(self, line: Map | None, opacity: np.ndarray | None = None, of: str = "") -> Texture | None:
        """opacity: [H, W] uint8, of the image `of`, takes the place of the image's own."""
        if line is None:
            return None
        key = (line.name, of, line.clamped)
        if key not in self._textures:
            pixels = self._image(line.name)
            if opacity is not None:
                size = (pixels.shape[1], pixels.shape[0])
                pixels = pixels.copy()
                pixels[..., 3] = np.asarray(Image.fromarray(opacity).resize(size, Image.Resampling.BILINEAR))
            wrap = _CLAMP if line.clamped else _REPEAT
            self._textures[key] = Texture(pixels, wrap=(wrap, wrap))
        return self._textures[key]

    def color_texture(self, maps: dict[str, Map]) -> tuple[Texture | None, str]:
        """With the opacity of map_d: the image's own where both are one file, else its alpha or its green."""
        color, cut = maps.get("map_kd"), maps.get("map_d")
        if cut is None:
            return self.texture(color), "OPAQUE"
        pixels = self._image(cut.name)
        one = color is not None and color.name == cut.name
        opacity = pixels[..., 3] if one or pixels[..., 3].min() < 255 else pixels[..., 1]
        if opacity.min() == 255:
            return self.texture(color), "OPAQUE"
        between = float(((opacity > 25) & (opacity < 230)).mean())
        alpha = "BLEND" if between > _BETWEEN else "MASK"
        if color is None:
            return self._white(cut, opacity), alpha
        return self.texture(color, None if one else np.ascontiguousarray(opacity), cut.name), alpha

    def _white(self, cut: Map, opacity: np.ndarray) -> Texture:
        pixels = np.full((*opacity.shape, 4), 255, np.uint8)
        pixels[..., 3] = opacity
        wrap = _CLAMP if cut.clamped else _REPEAT
        return Texture(pixels, wrap=(wrap, wrap))

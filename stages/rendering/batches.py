"""Upload a Model to the OpenGL driver: the vertices and indices of each material, images, and how they are sampled."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.model import Material, Model, Part, Texture

_FLOATS = 17  # position 3, normal 3, uv 4, colour 4, emission 3
_MOST_BATCHES = 20_000  # each is drawn twice for every view
_LAYOUT = ((0, 3, 0), (1, 3, 3), (2, 4, 6), (3, 4, 10), (4, 3, 14))  # location, components, offset in floats


@dataclass
class Batch:
    """The uploaded parts of one material."""

    material: Material
    array: int
    buffers: list[int]
    count: int  # indices
    features: frozenset[str]  # of the shaders that draw it
    points: np.ndarray  # [M, 3] float32, the vertices that faces use
    faces: np.ndarray  # [F, 3] uint32; with centres, empty unless the batch is blended, and so sorted for each view
    centres: np.ndarray  # [F, 3] float32


class Batches:
    """The batches of one object in the order of drawing: blended ones last."""

    def __init__(self, gl: Any):
        self._gl = gl
        self._images: dict[int, int] = {}  # GL's names by the ids of pixels: textures share an image
        self._samplers: dict[tuple[int, ...], int] = {}
        self.batches: list[Batch] = []

    def upload(self, model: Model, to_sphere: np.ndarray) -> None:
        groups: dict[Material, list[Part]] = {}
        for part in model.parts:
            if len(part.faces):
                groups.setdefault(part.material, []).append(part)
        if len(groups) > _MOST_BATCHES:
            detail = f"the mesh has parts of {len(groups):,} different materials; at most {_MOST_BATCHES:,} are drawn"
            raise StageError("too_large", detail)
        for material, parts in sorted(groups.items(), key=lambda item: item[0].alpha == "BLEND"):
            self.batches.append(self._upload_batch(material, parts, to_sphere))

    def release(self) -> None:
        for batch in self.batches:
            self._gl.glDeleteVertexArrays(1, [batch.array])
            self._gl.glDeleteBuffers(2, batch.buffers)
        if self._images:
            self._gl.glDeleteTextures(list(self._images.values()))
        if self._samplers:
            self._gl.glDeleteSamplers(len(self._samplers), list(self._samplers.values()))
        self._images.clear()
        self._samplers.clear()
        self.batches.clear()

    def bind(self, texture: Texture, unit: int) -> None:
        GL = self._gl
        GL.glActiveTexture(GL.GL_TEXTURE0 + unit)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._images[id(texture.pixels)])
        GL.glBindSampler(unit, self._samplers[_sampling(texture)])

    def _upload_batch(self, material: Material, parts: list[Part], to_sphere: np.ndarray) -> Batch:
        GL = self._gl
        vertices, faces = _joined(parts, to_sphere)
        array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(array)
        buffers = [int(buffer) for buffer in GL.glGenBuffers(2)]
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, buffers[0])
        GL.glBufferData(GL.GL_ARRAY_BUFFER, vertices.nbytes, vertices, GL.GL_STATIC_DRAW)
        for location, components, offset in _LAYOUT:
            GL.glEnableVertexAttribArray(location)
            GL.glVertexAttribPointer(location, components, GL.GL_FLOAT, False, _FLOATS * 4, ctypes.c_void_p(offset * 4))
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, buffers[1])
        GL.glBufferData(GL.GL_ELEMENT_ARRAY_BUFFER, faces.nbytes, faces, GL.GL_STATIC_DRAW)
        for texture in (material.color_texture, material.emission_texture):
            if texture is not None and id(texture.pixels) not in self._images:
                self._images[id(texture.pixels)] = self._upload_image(texture.pixels)
            if texture is not None and _sampling(texture) not in self._samplers:
                self._samplers[_sampling(texture)] = self._sampler(texture)
        used = np.zeros(len(vertices), bool)
        used[faces] = True
        features = _features(material, glowing=bool(vertices[:, 14:17].any()))
        kept = faces if material.alpha == "BLEND" else np.zeros((0, 3), np.uint32)
        centres = vertices[:, 0:3][kept].mean(1)
        return Batch(material, array, buffers, faces.size, features, vertices[used, 0:3], kept, centres)

    def _upload_image(self, pixels: np.ndarray) -> int:
        GL = self._gl
        name = GL.glGenTextures(1)
        GL.glBindTexture(GL.GL_TEXTURE_2D, name)
        height, width = pixels.shape[:2]
        GL.glTexImage2D(
            GL.GL_TEXTURE_2D, 0, GL.GL_SRGB8_ALPHA8, width, height, 0, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE,
            np.ascontiguousarray(pixels),
        )  # fmt: skip
        GL.glGenerateMipmap(GL.GL_TEXTURE_2D)
        return int(name)

    def _sampler(self, texture: Texture) -> int:
        GL = self._gl
        name = int(GL.glGenSamplers(1))
        GL.glSamplerParameteri(name, GL.GL_TEXTURE_WRAP_S, texture.wrap[0])
        GL.glSamplerParameteri(name, GL.GL_TEXTURE_WRAP_T, texture.wrap[1])
        GL.glSamplerParameteri(name, GL.GL_TEXTURE_MAG_FILTER, texture.magnify)
        GL.glSamplerParameteri(name, GL.GL_TEXTURE_MIN_FILTER, texture.minify)
        return name


def _sampling(texture: Texture) -> tuple[int, ...]:
    return (*texture.wrap, texture.magnify, texture.minify)


def _joined(parts: list[Part], to_sphere: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, _FLOATS] float32: the vertices of all parts in the unit sphere; [F, 3] uint32: their faces."""
    starts = np.cumsum([0] + [len(part.positions) for part in parts])
    vertices = np.empty((starts[-1], _FLOATS), np.float32)
    turn = to_sphere[:3, :3] * math.copysign(1.0, np.linalg.det(to_sphere[:3, :3]))
    for start, part in zip(starts, parts, strict=False):
        rows = vertices[start : start + len(part.positions)]
        rows[:, 0:3] = part.positions @ to_sphere[:3, :3].T + to_sphere[:3, 3]
        normals = part.normals @ turn.T.astype(np.float32)
        size = np.linalg.norm(normals, axis=1, keepdims=True)
        rows[:, 3:6] = np.where(np.isfinite(size) & (size > 0), normals / np.where(size > 0, size, 1), 0)
        rows[:, 6:10] = np.nan_to_num(part.uv, posinf=0, neginf=0)
        rows[:, 10:14], rows[:, 14:17] = part.colors, part.emission
    faces = np.concatenate([part.faces + np.uint32(start) for start, part in zip(starts, parts, strict=False)])
    return vertices, faces


def _features(material: Material, *, glowing: bool) -> frozenset[str]:
    has = {
        "TEXTURED": material.color_texture is not None,
        "CUT": material.alpha != "OPAQUE",
        "LIT": not material.unlit,
        "GLOWING": glowing,
        "GLOWING_TEXTURE": glowing and material.emission_texture is not None,
    }
    return frozenset(name for name, true in has.items() if true)

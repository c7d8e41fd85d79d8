"""Draws a Model from many cameras over EGL: a GPU's driver where there is one, Mesa's software driver else.

One renderer lives as long as its worker. pyrender gives the context; the drawing is our own, since pyrender culls and
lights mirrored and one-sided surfaces wrongly, mixes alpha wrongly, filters textures in sRGB and knows no texture
transforms. A process that renders must never import torch.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.rendering import shaders
from stages.rendering.context import open_context
from stages.rendering.model import Material, Model, Part, Texture
from stages.stage import StageError

# linear light on a surface is base + slope . normal: brightest from above, the front (+z) and the object's left (+x)
LIGHT_BASE = 0.64
LIGHT_SLOPE = (0.11, 0.22, 0.15)
_SOLID = 0.99  # of a blended material, what is at least this opaque covers what lies behind it
_FLOATS = 17  # position 3, normal 3, uv 4, colour 4, emission 3
_LAYOUT = ((0, 3, 0), (1, 3, 3), (2, 4, 6), (3, 4, 10), (4, 3, 14))  # location, components, offset in floats


@dataclass
class _Batch:
    """All parts of one material, uploaded."""

    material: Material
    array: int
    buffers: list[int]
    count: int  # indices
    glowing: bool  # whether any vertex has emission
    faces: np.ndarray | None = None  # [F, 3] uint32, kept for what must be sorted
    centres: np.ndarray | None = None  # [F, 3] float32


class Renderer:
    """Square views of `size` pixels, each with `samples` samples a pixel."""

    def __init__(self, size: int, samples: int):
        self._context = open_context(size)
        from OpenGL import GL
        from OpenGL.error import Error

        self.gl = GL
        self._error = Error
        self.size = size
        self._textures: dict[int, int] = {}
        self._programs = {
            "color": self._program(shaders.VERTEX, shaders.FRAGMENT),
            "depth": self._program(shaders.VERTEX, shaders.DEPTH_FRAGMENT),
        }
        self._locations: dict[tuple[str, str], int] = {}
        samples = min(samples, int(GL.glGetIntegerv(GL.GL_MAX_SAMPLES)))
        self._smooth = self._framebuffer(samples, GL.GL_RGBA8, GL.GL_DEPTH_COMPONENT24)
        self._flat = self._framebuffer(0, GL.GL_RGBA8, GL.GL_DEPTH_COMPONENT32F)
        self._white = self._upload_texture(Texture(np.full((1, 1, 4), 255, np.uint8)))
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)

    @property
    def device(self) -> str:
        return self.gl.glGetString(self.gl.GL_RENDERER).decode()

    def draw(
        self, model: Model, to_sphere: np.ndarray, intrinsics: np.ndarray, camera_to_world: np.ndarray, albedo: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each camera: colours [S, S, 4] uint8 multiplied by alpha, and depth [S, S] float32, 0 where empty."""
        batches: list[_Batch] = []
        self._context._platform.make_current()  # another renderer of this process may have been at work
        try:
            self._upload(model, to_sphere, batches)
            for matrix, pose in zip(intrinsics, camera_to_world, strict=True):
                reach = float(np.linalg.norm(pose[:3, 3]))
                near, far = max(reach - 1.01, 0.01), reach + 1.01
                clip = clip_from_camera(matrix, self.size, near, far) @ np.linalg.inv(pose)
                yield self._draw_colors(batches, clip, pose, albedo), self._draw_depth(batches, clip, near, far)
        except self._error as error:
            text = " ".join(str(error).split())[:200]
            raise StageError("renderer_failed", f"{self.device}: {text}", transient=True) from None
        finally:
            self._release(batches)

    def close(self) -> None:
        self._context.delete()

    def _program(self, vertex: str, fragment: str) -> int:
        from OpenGL.GL import shaders as compiler

        vertex_shader = compiler.compileShader(vertex, self.gl.GL_VERTEX_SHADER)
        fragment_shader = compiler.compileShader(fragment, self.gl.GL_FRAGMENT_SHADER)
        program = self.gl.glCreateProgram()
        for shader in (vertex_shader, fragment_shader):
            self.gl.glAttachShader(program, shader)
        self.gl.glLinkProgram(program)
        if not self.gl.glGetProgramiv(program, self.gl.GL_LINK_STATUS):
            raise RuntimeError(f"the shader does not link: {self.gl.glGetProgramInfoLog(program)}")
        return program

    def _framebuffer(self, samples: int, color: int, depth: int) -> int:
        GL = self.gl
        frame = GL.glGenFramebuffers(1)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
        for kind, place in ((color, GL.GL_COLOR_ATTACHMENT0), (depth, GL.GL_DEPTH_ATTACHMENT)):
            buffer = GL.glGenRenderbuffers(1)
            GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, buffer)
            GL.glRenderbufferStorageMultisample(GL.GL_RENDERBUFFER, samples, kind, self.size, self.size)
            GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, place, GL.GL_RENDERBUFFER, buffer)
        if GL.glCheckFramebufferStatus(GL.GL_FRAMEBUFFER) != GL.GL_FRAMEBUFFER_COMPLETE:
            raise RuntimeError(f"no framebuffer of {self.size} x {self.size} with {samples} samples on {self.device}")
        return frame

    def _set(self, program: str, name: str) -> int:
        key = (program, name)
        if key not in self._locations:
            self._locations[key] = self.gl.glGetUniformLocation(self._programs[program], name)
        return self._locations[key]

    def _upload(self, model: Model, to_sphere: np.ndarray, batches: list[_Batch]) -> None:
        """Fills the list, in drawing order: blended ones last."""
        groups: dict[Material, list[Part]] = {}
        for piece in model.parts:
            if len(piece.faces):
                groups.setdefault(piece.material, []).append(piece)
        for material, parts in sorted(groups.items(), key=lambda item: item[0].alpha == "BLEND"):
            batches.append(self._upload_batch(material, parts, to_sphere))

    def _upload_batch(self, material: Material, parts: list[Part], to_sphere: np.ndarray) -> _Batch:
        GL = self.gl
        starts = np.cumsum([0] + [len(piece.positions) for piece in parts])
        vertices = np.empty((starts[-1], _FLOATS), np.float32)
        turn = to_sphere[:3, :3] * math.copysign(1.0, np.linalg.det(to_sphere[:3, :3]))
        for start, piece in zip(starts, parts, strict=False):
            rows = vertices[start : start + len(piece.positions)]
            rows[:, 0:3] = piece.positions @ to_sphere[:3, :3].T + to_sphere[:3, 3]
            normals = piece.normals @ turn.T.astype(np.float32)
            size = np.linalg.norm(normals, axis=1, keepdims=True)
            rows[:, 3:6] = np.where(np.isfinite(size) & (size > 0), normals / np.where(size > 0, size, 1), 0)
            rows[:, 6:10], rows[:, 10:14], rows[:, 14:17] = np.nan_to_num(piece.uv), piece.colors, piece.emission
        faces = np.concatenate([piece.faces + np.uint32(start) for start, piece in zip(starts, parts, strict=False)])
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
            if texture is not None and id(texture) not in self._textures:
                self._textures[id(texture)] = self._upload_texture(texture)
        batch = _Batch(material, array, buffers, faces.size, bool(vertices[:, 14:17].any()))
        if material.alpha == "BLEND":
            batch.faces, batch.centres = faces, vertices[:, 0:3][faces].mean(1)
        return batch

    def _upload_texture(self, texture: Texture) -> int:
        GL = self.gl
        name = GL.glGenTextures(1)
        GL.glBindTexture(GL.GL_TEXTURE_2D, name)
        height, width = texture.pixels.shape[:2]
        pixels = np.ascontiguousarray(texture.pixels)
        GL.glTexImage2D(
            GL.GL_TEXTURE_2D, 0, GL.GL_SRGB8_ALPHA8, width, height, 0, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, pixels
        )
        GL.glGenerateMipmap(GL.GL_TEXTURE_2D)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_WRAP_S, texture.wrap[0])
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_WRAP_T, texture.wrap[1])
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MAG_FILTER, texture.magnify)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MIN_FILTER, texture.minify)
        return int(name)

    def _release(self, batches: list[_Batch]) -> None:
        GL = self.gl
        for batch in batches:
            GL.glDeleteVertexArrays(1, [batch.array])
            GL.glDeleteBuffers(2, batch.buffers)
        if self._textures:
            GL.glDeleteTextures(list(self._textures.values()))
            self._textures.clear()

    def _begin(self, program: str, frame: int, clip: np.ndarray) -> None:
        GL = self.gl
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
        GL.glViewport(0, 0, self.size, self.size)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glDepthFunc(GL.GL_LEQUAL)  # of faces in one place the last is seen, as in the viewers that authors use
        GL.glDisable(GL.GL_BLEND)
        GL.glDepthMask(True)
        GL.glClearColor(0, 0, 0, 0)
        GL.glClearDepth(1)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT | GL.GL_DEPTH_BUFFER_BIT)
        GL.glUseProgram(self._programs[program])
        GL.glUniformMatrix4fv(self._set(program, "clip_from_world"), 1, True, clip.astype(np.float32))

    def _bind(self, program: str, batch: _Batch) -> None:
        GL, material = self.gl, batch.material
        for unit, name in enumerate(("color_texture", "emission_texture")):
            texture = getattr(material, name)
            GL.glActiveTexture(GL.GL_TEXTURE0 + unit)
            GL.glBindTexture(GL.GL_TEXTURE_2D, self._white if texture is None else self._textures[id(texture)])
            GL.glUniform1i(self._set(program, name), unit)
        if material.double_sided:
            GL.glDisable(GL.GL_CULL_FACE)
        else:
            GL.glEnable(GL.GL_CULL_FACE)
            GL.glCullFace(GL.GL_FRONT)  # rows run from the top down here, which turns the winding around
        if program == "color":
            GL.glUniform1i(self._set(program, "textured"), material.color_texture is not None)
            GL.glUniform1i(self._set(program, "glowing"), batch.glowing)
        GL.glBindVertexArray(batch.array)

    def _light(self, flat: bool) -> None:
        self.gl.glUniform1f(self._set("color", "light_base"), 1.0 if flat else LIGHT_BASE)
        self.gl.glUniform3f(self._set("color", "light_slope"), *((0, 0, 0) if flat else LIGHT_SLOPE))

    def _triangles(self, batch: _Batch) -> None:
        self.gl.glDrawElements(self.gl.GL_TRIANGLES, batch.count, self.gl.GL_UNSIGNED_INT, ctypes.c_void_p(0))

    def _draw_colors(self, batches: list[_Batch], clip: np.ndarray, pose: np.ndarray, albedo: bool) -> np.ndarray:
        """[S, S, 4] uint8"""
        GL = self.gl
        self._begin("color", self._smooth, clip)
        GL.glUniform3f(self._set("color", "eye"), *pose[:3, 3])
        for batch in batches:
            material = batch.material
            self._bind("color", batch)
            self._light(albedo or material.unlit)
            GL.glUniform1i(self._set("color", "opaque"), material.alpha != "BLEND")
            GL.glUniform1f(self._set("color", "cutoff"), _cutoff(material))
            GL.glUniform1f(self._set("color", "ceiling"), math.inf)
            self._triangles(batch)
        blended = [batch for batch in batches if batch.material.alpha == "BLEND"]
        if blended:
            self._draw_blended(blended, pose, albedo)
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._smooth)
        GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._flat)
        box = (0, 0, self.size, self.size)
        GL.glBlitFramebuffer(*box, *box, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)
        return self._read(GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, np.uint8, 4)

    def _draw_blended(self, batches: list[_Batch], pose: np.ndarray, albedo: bool) -> None:
        """What is translucent, triangles from far to near within a batch, batches by their farthest middle."""
        GL = self.gl
        GL.glEnable(GL.GL_BLEND)
        GL.glBlendFunc(GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA)
        GL.glDepthMask(False)
        depths = [batch.centres @ pose[:3, 2].astype(np.float32) for batch in batches]
        for index in np.argsort([-float(depth.mean()) for depth in depths], kind="stable"):
            batch, material = batches[index], batches[index].material
            faces = np.ascontiguousarray(batch.faces[np.argsort(-depths[index], kind="stable")])
            self._bind("color", batch)
            GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, batch.buffers[1])
            GL.glBufferSubData(GL.GL_ELEMENT_ARRAY_BUFFER, 0, faces.nbytes, faces)
            self._light(albedo or material.unlit)
            GL.glUniform1i(self._set("color", "opaque"), 0)
            GL.glUniform1f(self._set("color", "cutoff"), 0.0)
            GL.glUniform1f(self._set("color", "ceiling"), _SOLID)
            self._triangles(batch)

    def _draw_depth(self, batches: list[_Batch], clip: np.ndarray, near: float, far: float) -> np.ndarray:
        """[S, S] float32: of the surface that the middle of each pixel sees, 0 where it sees nothing solid."""
        GL = self.gl
        self._begin("depth", self._flat, clip)
        for batch in batches:
            self._bind("depth", batch)
            GL.glUniform1f(self._set("depth", "cutoff"), _cutoff(batch.material))
            self._triangles(batch)
        steps = self._read(GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, np.float32, 1)
        seen = steps < 1
        depth = np.float32(near * far) / (np.float32(far) - steps * np.float32(far - near))
        depth[~seen] = 0
        return depth

    def _read(self, form: int, kind: int, dtype: type, channels: int) -> np.ndarray:
        GL = self.gl
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._flat)
        pixels = np.empty((self.size, self.size, channels), dtype)
        GL.glReadPixels(0, 0, self.size, self.size, form, kind, pixels)
        return pixels if channels > 1 else pixels[..., 0]


def _cutoff(material: Material) -> float:
    """Below which alpha a fragment is not there, for a pass that writes depth."""
    return {"OPAQUE": 0.0, "MASK": max(material.cutoff, 1e-6), "BLEND": _SOLID}[material.alpha]


def clip_from_camera(intrinsics: np.ndarray, size: int, near: float, far: float) -> np.ndarray:
    """[4, 4]: from OpenCV's camera frame to clip space, the first row of the image at the bottom of the window."""
    clip = np.zeros((4, 4))
    clip[0, :3] = 2 * intrinsics[0] / size - intrinsics[2]
    clip[1, :3] = 2 * intrinsics[1] / size - intrinsics[2]
    clip[2, 2:] = (far + near) / (far - near), -2 * far * near / (far - near)
    clip[3, 2] = 1
    return clip

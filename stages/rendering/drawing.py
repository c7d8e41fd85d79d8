"""Draw a Model from many cameras over EGL.

A worker keeps one renderer. pyrender gives the context, but does not draw: it culls and lights mirrored and one-sided
surfaces wrongly, blends alpha wrongly, filters textures in sRGB and has no texture transforms. A process that renders
must never import torch.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.model import Material, Model
from stages.rendering.batches import Batch, Batches
from stages.rendering.context import open_context
from stages.rendering.programs import Program, Programs
from stages.rendering.sides import Sides
from stages.rendering.window import Window, clip_from_camera, window_of

# linear light on a surface is base + slope . normal: brightest from above, the front (+z) and the object's left (+x)
LIGHT_BASE = 0.64
LIGHT_SLOPE = (0.11, 0.22, 0.15)
_LOOKED_AT = 6  # views, or up to 11, in which culled faces are looked for
_LOOKED_AT_SIZE = 128  # pixels, of these views
_SOLID = 0.99  # fragments of a blended material with at least this alpha hide what is behind them


class Renderer:
    """Draws square views of `size` pixels with `samples` samples per pixel."""

    def __init__(self, size: int, samples: int):
        self._context = open_context(size)
        from OpenGL import GL
        from OpenGL.error import Error

        self.gl = GL
        self._error = Error
        self.size = size
        self._programs = Programs(GL)
        self._uploaded = Batches(GL)
        self.seen: Sides | None = None
        self._both_sides = False
        samples = min(samples, int(GL.glGetIntegerv(GL.GL_MAX_SAMPLES)))
        samples = samples if samples > 1 else 0  # for 1, a driver may choose any number of samples
        self._smooth = self._framebuffer(samples, GL.GL_RGBA8, GL.GL_DEPTH_COMPONENT24)
        self._flat = self._framebuffer(0, GL.GL_RGBA8, GL.GL_DEPTH_COMPONENT32F)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)

    @property
    def device(self) -> str:
        return self.gl.glGetString(self.gl.GL_RENDERER).decode()

    def draw(
        self,
        model: Model,
        to_sphere: np.ndarray,
        intrinsics: np.ndarray,
        camera_to_world: np.ndarray,
        albedo: bool,
        sides: str = "author",
    ) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
        """Yield for each camera the window that contains all that is visible, and the pixels in it.

        These are [H, W, 4] uint8 colours multiplied by alpha, and [H, W] float32 depth, 0 where empty. sides: author,
        both or auto. Afterwards `seen` says what culling hides; it is None where no surface is single-sided, and with
        sides both.
        """
        self._context._platform.make_current()  # another renderer of this process may have been current
        try:
            self._uploaded.upload(model, to_sphere)
            points = np.concatenate([batch.points for batch in self._uploaded.batches])
            cameras = list(zip(intrinsics, camera_to_world, strict=True))
            self.seen = None if sides == "both" else self._look(points, cameras[:: max(1, len(cameras) // _LOOKED_AT)])
            self._both_sides = sides == "both" or (
                sides == "auto" and self.seen is not None and self.seen.best == "both"
            )
            for matrix, pose in cameras:
                clip, near, far = self._clip(matrix, pose)
                window = window_of(points, clip, self.size)
                color = self._draw_colors(window, clip, pose, albedo)
                depth = self._draw_depth(window, clip, near, far)
                yield window, color, depth
        except self._error as error:
            raise StageError("renderer_failed", f"{self.device}: {error}", transient=True) from None
        finally:
            self._uploaded.release()

    def _clip(self, matrix: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, float, float]:
        """[4, 4]: the object's frame to clip space, and the distances of its near and far plane."""
        reach = float(np.linalg.norm(pose[:3, 3]))
        near, far = max(reach - 1.01, 0.01), reach + 1.01
        return clip_from_camera(matrix, self.size, near, far) @ np.linalg.inv(pose), near, far

    def close(self) -> None:
        self._context.delete()

    def _framebuffer(self, samples: int, color: int, depth: int) -> int:
        GL = self.gl
        frame = GL.glGenFramebuffers(1)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
        for kind, attachment in ((color, GL.GL_COLOR_ATTACHMENT0), (depth, GL.GL_DEPTH_ATTACHMENT)):
            buffer = GL.glGenRenderbuffers(1)
            GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, buffer)
            GL.glRenderbufferStorageMultisample(GL.GL_RENDERBUFFER, samples, kind, self.size, self.size)
            GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, attachment, GL.GL_RENDERBUFFER, buffer)
        if GL.glCheckFramebufferStatus(GL.GL_FRAMEBUFFER) != GL.GL_FRAMEBUFFER_COMPLETE:
            detail = f"a framebuffer of {self.size} x {self.size} pixels with {samples} samples"
            raise RuntimeError(f"{self.device} cannot make {detail}")
        return frame

    def _begin(self, frame: int, size: int) -> None:
        GL = self.gl
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
        GL.glViewport(0, 0, size, size)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glDepthFunc(GL.GL_LEQUAL)  # of coincident faces the last is seen, as in common viewers
        GL.glDisable(GL.GL_BLEND)
        GL.glDepthMask(True)
        GL.glClearColor(0, 0, 0, 0)
        GL.glClearDepth(1)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT | GL.GL_DEPTH_BUFFER_BIT)

    def _bind(self, program: Program, batch: Batch, clip: np.ndarray) -> None:
        GL, material = self.gl, batch.material
        GL.glUniformMatrix4fv(program.at("clip_from_world"), 1, True, clip.astype(np.float32))
        for unit, name in enumerate(("color_texture", "emission_texture")):
            texture = getattr(material, name)
            if texture is not None:
                self._uploaded.bind(texture, unit)
                GL.glUniform1i(program.at(name), unit)
        if material.double_sided or self._both_sides:
            GL.glDisable(GL.GL_CULL_FACE)
        else:
            GL.glEnable(GL.GL_CULL_FACE)
            GL.glCullFace(GL.GL_FRONT)  # rows run from the top down here, which reverses the winding
        GL.glBindVertexArray(batch.array)

    def _triangles(self, batch: Batch) -> None:
        self.gl.glDrawElements(self.gl.GL_TRIANGLES, batch.count, self.gl.GL_UNSIGNED_INT, ctypes.c_void_p(0))

    def _draw_colors(self, window: Window, clip: np.ndarray, pose: np.ndarray, albedo: bool) -> np.ndarray:
        """[H, W, 4] uint8"""
        GL = self.gl
        self._begin(self._smooth, self.size)
        batches = self._uploaded.batches
        for batch in batches:
            material = batch.material
            program = self._color_program(batch, clip, pose, albedo)
            GL.glUniform1i(program.at("opaque"), material.alpha != "BLEND")
            GL.glUniform1f(program.at("cutoff"), _cutoff(material))
            GL.glUniform1f(program.at("ceiling"), math.inf)
            self._triangles(batch)
        blended = [batch for batch in batches if batch.material.alpha == "BLEND"]
        if blended:
            self._draw_blended(blended, clip, pose, albedo)
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._smooth)
        GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._flat)
        box = (window.left, window.top, window.right, window.bottom)
        GL.glBlitFramebuffer(*box, *box, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)
        return self._read(window, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, np.uint8, 4)

    def _color_program(self, batch: Batch, clip: np.ndarray, pose: np.ndarray, albedo: bool) -> Program:
        """The program that draws the batch, with its uniforms set."""
        GL = self.gl
        program = self._programs.use("color", batch.features - {"LIT"} if albedo else batch.features)
        self._bind(program, batch, clip)
        GL.glUniform3f(program.at("eye"), *pose[:3, 3])
        GL.glUniform1f(program.at("light_base"), LIGHT_BASE)
        GL.glUniform3f(program.at("light_slope"), *LIGHT_SLOPE)
        return program

    def _draw_blended(self, batches: list[Batch], clip: np.ndarray, pose: np.ndarray, albedo: bool) -> None:
        """Draw translucent fragments: batches by the mean depth of their triangles, triangles from far to near."""
        GL = self.gl
        GL.glEnable(GL.GL_BLEND)
        GL.glBlendFunc(GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA)
        GL.glDepthMask(False)
        depths = [batch.centres @ pose[:3, 2].astype(np.float32) for batch in batches]
        for index in np.argsort([-float(depth.mean()) for depth in depths], kind="stable"):
            batch = batches[index]
            faces = np.ascontiguousarray(batch.faces[np.argsort(-depths[index], kind="stable")])
            program = self._color_program(batch, clip, pose, albedo)
            GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, batch.buffers[1])
            GL.glBufferSubData(GL.GL_ELEMENT_ARRAY_BUFFER, 0, faces.nbytes, faces)
            GL.glUniform1i(program.at("opaque"), 0)
            GL.glUniform1f(program.at("cutoff"), 0.0)
            GL.glUniform1f(program.at("ceiling"), _SOLID)
            self._triangles(batch)

    def _draw_depth(self, window: Window, clip: np.ndarray, near: float, far: float) -> np.ndarray:
        """[H, W] float32: the depth at the middle of each pixel, 0 where there is nothing solid."""
        self._begin(self._flat, self.size)
        for batch in self._uploaded.batches:
            self._bind_depth(batch, clip)
            self._triangles(batch)
        return self._read_depth(window, near, far)

    def _bind_depth(self, batch: Batch, clip: np.ndarray) -> None:
        cut = "CUT" in batch.features
        program = self._programs.use("depth", batch.features & {"CUT", "TEXTURED"} if cut else frozenset())
        self._bind(program, batch, clip)
        self.gl.glUniform1f(program.at("cutoff"), _cutoff(batch.material))

    def _look(self, points: np.ndarray, cameras: list[tuple[np.ndarray, np.ndarray]]) -> Sides | None:
        """What culling hides in these views, which are drawn small; None if nothing is single-sided."""
        GL, size = self.gl, min(self.size, _LOOKED_AT_SIZE)
        one_sided = [batch for batch in self._uploaded.batches if not batch.material.double_sided]
        if not one_sided:
            return None
        self._both_sides, seen = False, Sides()
        for matrix, pose in cameras:
            clip, near, far = self._clip(matrix, pose)
            window = window_of(points, clip, size)
            self._begin(self._flat, size)
            for batch in self._uploaded.batches:
                self._bind_depth(batch, clip)
                self._triangles(batch)
            drawn = self._read_depth(window, near, far)
            for batch in one_sided:
                self._bind_depth(batch, clip)
                GL.glCullFace(GL.GL_BACK)
                self._triangles(batch)
            seen.add(drawn, self._read_depth(window, near, far))
        return seen

    def _read_depth(self, window: Window, near: float, far: float) -> np.ndarray:
        """[H, W] float32, 0 where empty"""
        steps = self._read(window, self.gl.GL_DEPTH_COMPONENT, self.gl.GL_FLOAT, np.float32, 1)
        depth = np.float32(near * far) / (np.float32(far) - steps * np.float32(far - near))
        depth[steps == 1] = 0
        return depth

    def _read(self, window: Window, form: int, kind: int, dtype: type, channels: int) -> np.ndarray:
        GL = self.gl
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._flat)
        height, width = window.bottom - window.top, window.right - window.left
        pixels: np.ndarray = np.empty((height, width, channels), dtype)
        GL.glReadPixels(window.left, window.top, width, height, form, kind, pixels)
        return pixels if channels > 1 else pixels[..., 0]


def _cutoff(material: Material) -> float:
    """The alpha below which fragments are dropped in a pass that writes depth."""
    return {"OPAQUE": 0.0, "MASK": max(material.cutoff, 1e-6), "BLEND": _SOLID}[material.alpha]

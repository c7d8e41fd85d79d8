"""Compiled programs, each made when it is first needed, and their uniforms."""

from __future__ import annotations

from typing import Any

from stages.rendering import shaders


class Program:
    """One linked program; `at` gives where a uniform is set, -1 where this program has none of that name."""

    def __init__(self, gl: Any, vertex: str, fragment: str):
        from OpenGL.GL import shaders as compiler

        self._gl = gl
        self.name = gl.glCreateProgram()
        for source, kind in ((vertex, gl.GL_VERTEX_SHADER), (fragment, gl.GL_FRAGMENT_SHADER)):
            gl.glAttachShader(self.name, compiler.compileShader(source, kind))
        gl.glLinkProgram(self.name)
        if not gl.glGetProgramiv(self.name, gl.GL_LINK_STATUS):
            raise RuntimeError(f"the shader does not link: {gl.glGetProgramInfoLog(self.name)}")
        self._places: dict[str, int] = {}

    def at(self, uniform: str) -> int:
        if uniform not in self._places:
            self._places[uniform] = self._gl.glGetUniformLocation(self.name, uniform)
        return self._places[uniform]


class Programs:
    """Of one context."""

    def __init__(self, gl: Any):
        self._gl = gl
        self._made: dict[tuple[str, frozenset[str]], Program] = {}

    def use(self, kind: str, features: frozenset[str]) -> Program:
        key = (kind, features)
        if key not in self._made:
            self._made[key] = Program(self._gl, *shaders.sources(kind, features))
        self._gl.glUseProgram(self._made[key].name)
        return self._made[key]

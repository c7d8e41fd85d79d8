"""Compile shader programs when they are first needed, and find their uniforms."""

from __future__ import annotations

from typing import Any

from stages.rendering import shaders


class Program:
    """One linked program. `at` gives the location of a uniform, -1 if the program has none of that name."""

    def __init__(self, gl: Any, vertex: str, fragment: str):
        from OpenGL.GL import shaders as compiler

        self._gl = gl
        self.name = gl.glCreateProgram()
        for source, kind in ((vertex, gl.GL_VERTEX_SHADER), (fragment, gl.GL_FRAGMENT_SHADER)):
            gl.glAttachShader(self.name, compiler.compileShader(source, kind))
        gl.glLinkProgram(self.name)
        if not gl.glGetProgramiv(self.name, gl.GL_LINK_STATUS):
            raise RuntimeError(f"the shader program cannot be linked: {gl.glGetProgramInfoLog(self.name)}")
        self._locations: dict[str, int] = {}

    def at(self, uniform: str) -> int:
        if uniform not in self._locations:
            self._locations[uniform] = self._gl.glGetUniformLocation(self.name, uniform)
        return self._locations[uniform]


class Programs:
    """The programs of one context."""

    def __init__(self, gl: Any):
        self._gl = gl
        self._made: dict[tuple[str, frozenset[str]], Program] = {}

    def use(self, kind: str, features: frozenset[str]) -> Program:
        key = (kind, features)
        if key not in self._made:
            self._made[key] = Program(self._gl, *shaders.sources(kind, features))
        self._gl.glUseProgram(self._made[key].name)
        return self._made[key]

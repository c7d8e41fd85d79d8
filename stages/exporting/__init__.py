"""File formats that splats are exported to: each is a module here of the same name, and a line in FORMATS.

A format's module has a function encode(splat), which returns the bytes of a file. The file's suffix is the name.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from stages.artifacts.splat import Splat


@dataclass(frozen=True)
class SplatFormat:
    name: str
    meaning: str  # for --help

    def encode(self, splat: Splat) -> bytes:
        return importlib.import_module(f"{__name__}.{self.name}").encode(splat)


# The first is the default.
FORMATS = (SplatFormat("ply", "INRIA's PLY, which most viewers of splats read"),)

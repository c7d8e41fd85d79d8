"""Export a splat as an INRIA PLY."""

from __future__ import annotations

from stages.artifacts.splat import Splat


def encode(splat: Splat) -> bytes:
    return splat.to_ply()

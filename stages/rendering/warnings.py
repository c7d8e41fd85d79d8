"""Warn about objects that views and splats show only in part: translucent materials, faces that are culled."""

from __future__ import annotations

import numpy as np

from stages.meshes.model import Model, Part
from stages.rendering.sides import Sides

_TRANSLUCENT = (25, 230)  # of 255: less is a hole, more is solid
_MOST_TRANSLUCENT = 0.05  # share of texels or vertices: edges of what is cut out are translucent too
_MOST_CULLED = 0.05  # share of the pixels that show the object


def translucent(model: Model) -> list[str]:
    """A warning where parts let through what is behind them."""
    faces = sum(len(part.faces) for part in model.parts if _is_translucent(part))
    if not faces:
        return []
    share = max(1, round(100 * faces / model.faces))
    return [f"translucent: {share}% of the faces have no depth, and a splat shows what is behind them only in part"]


def _is_translucent(part: Part) -> bool:
    if part.material.alpha != "BLEND" or not len(part.faces):
        return False
    texture = part.material.color_texture
    alphas = [255 * part.colors[part.faces.ravel(), 3]] + ([texture.pixels[..., 3]] if texture else [])
    return any(_share(alpha) > _MOST_TRANSLUCENT for alpha in alphas)


def _share(alpha: np.ndarray) -> float:
    low, high = _TRANSLUCENT
    return float(((alpha > low) & (alpha < high)).mean())


def culled(seen: Sides | None, sides: str) -> list[str]:
    """A warning where single-sided faces would leave holes, or do."""
    if seen is None:
        return []
    if sides == "auto" and seen.best == "both":
        return [
            f"both sides: single-sided faces are drawn from behind too, since they would leave holes in "
            f"{_percent(seen.share)} of the object's pixels; set render.sides author to keep the author's sides"
        ]
    if seen.culled <= _MOST_CULLED:
        return []
    return [
        f"culled: {_percent(seen.culled)} of the object's pixels show single-sided faces from behind, which are "
        "not drawn; make the materials double-sided, or set render.sides both"
    ]


def _percent(share: float) -> str:
    return f"{round(100 * share)}%" if share >= 0.01 else "less than 1%"

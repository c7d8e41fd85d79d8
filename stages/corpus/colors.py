"""Define the twelve named colours: each is a region of hue, saturation and value, well separated from the others."""

from __future__ import annotations

import colorsys

import numpy as np

Rgb = tuple[float, float, float]  # sRGB, 0 to 1

# (low, high) of hue in degrees, of saturation and of value
REGIONS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((354, 363), (0.82, 0.95), (0.70, 0.88)),
    "orange": ((24, 31), (0.88, 1.0), (0.92, 1.0)),
    "yellow": ((49, 56), (0.78, 0.95), (0.93, 1.0)),
    "green": ((105, 138), (0.60, 0.85), (0.46, 0.68)),
    "teal": ((173, 183), (0.70, 0.95), (0.60, 0.76)),
    "blue": ((215, 228), (0.75, 0.92), (0.62, 0.88)),
    "purple": ((268, 281), (0.58, 0.78), (0.48, 0.66)),
    "pink": ((328, 342), (0.36, 0.52), (0.95, 1.0)),
    "brown": ((19, 27), (0.60, 0.74), (0.34, 0.46)),
    "black": ((0, 360), (0.0, 0.10), (0.06, 0.12)),
    "gray": ((0, 360), (0.0, 0.05), (0.46, 0.58)),
    "white": ((0, 360), (0.0, 0.03), (0.90, 0.97)),
}
COLORS = tuple(REGIONS)

_TOO_SIMILAR = {
    frozenset(pair)
    for pair in (
        ("red", "orange"),
        ("red", "pink"),
        ("red", "brown"),
        ("orange", "yellow"),
        ("orange", "brown"),
        ("green", "teal"),
        ("teal", "blue"),
        ("blue", "purple"),
        ("purple", "brown"),
        ("purple", "black"),
        ("brown", "black"),
        ("brown", "gray"),
        ("gray", "teal"),
        ("green", "gray"),
        ("green", "brown"),
    )
}


def sample(name: str, rng: np.random.Generator) -> Rgb:
    """A random colour that a person would call by this name."""
    hue, saturation, value = (float(rng.uniform(low, high)) for low, high in REGIONS[name])
    return colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)


def contrasts(name: str) -> tuple[str, ...]:
    """The colours that are easy to tell from this one."""
    return tuple(other for other in COLORS if other != name and frozenset((name, other)) not in _TOO_SIMILAR)

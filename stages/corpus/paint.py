"""Define Paint, the look of a surface: a plain colour, or a small texture that repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.corpus.colors import Rgb

PIXELS = 128

PATTERNS = ("plain", "striped", "checked", "dotted", "zigzag", "gridded")
FINISHES = ("wooden", "metal", "stone")  # materials that show on a plain surface


@dataclass(frozen=True)
class Paint:
    """`tile` is the side of one repeat in model units. The first colour always covers most of a pattern."""

    rgb: Rgb
    second: Rgb | None = None
    pattern: str = "plain"  # one of PATTERNS or FINISHES
    tile: float = 0.4
    sideways: bool = False  # the pattern is turned by a right angle
    seed: int = 0  # for the grain of a finish

    @property
    def plain(self) -> bool:
        return self.pattern == "plain"


def texture(paint: Paint) -> np.ndarray:
    """[PIXELS, PIXELS, 3] uint8: one repeat"""
    if paint.plain:
        shade = np.zeros((PIXELS, PIXELS))
    else:
        shade = _SHADES[paint.pattern](paint.seed)  # [PIXELS, PIXELS] 0: first colour, 1: second
    second = paint.second if paint.second is not None else _finish_color(paint)
    first, other = np.array(paint.rgb), np.array(second)
    return np.round(255 * (first + shade[..., None] * (other - first))).astype(np.uint8)


def _finish_color(paint: Paint) -> Rgb:
    """The colour that a finish adds: dark for grain and speckles, light for the gloss of metal."""
    rgb = np.array(paint.rgb)
    dark = rgb * (0.55 if rgb.max() > 0.25 else 0.0) + (0.0 if rgb.max() > 0.25 else 0.3)
    return tuple(rgb + 0.55 * (1 - rgb)) if paint.pattern == "metal" else tuple(dark)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """u, v of the pixel centres, 0 to 1: [1, PIXELS], [PIXELS, 1]"""
    centres = (np.arange(PIXELS) + 0.5) / PIXELS
    return centres[None, :], centres[:, None]


def _inside(distance: np.ndarray) -> np.ndarray:
    """1 where the signed distance (in repeats) is positive, with an edge one pixel wide."""
    return np.clip(distance * PIXELS + 0.5, 0.0, 1.0)


def _striped(seed: int) -> np.ndarray:
    u, v = _grid()
    return _inside(0.2 - np.abs(v - 0.5)) + 0 * u


def _checked(seed: int) -> np.ndarray:
    u, v = _grid()
    square = np.zeros((PIXELS, PIXELS))
    for centre in (0.25, 0.75):
        square = np.maximum(square, _inside(0.215 - np.maximum(np.abs(u - centre), np.abs(v - centre))))
    return square


def _dotted(seed: int) -> np.ndarray:
    u, v = _grid()
    dots = np.zeros((PIXELS, PIXELS))
    for centre in (0.25, 0.75):
        dots = np.maximum(dots, _inside(0.2 - np.hypot(u - centre, v - centre)))
    return dots


def _zigzag(seed: int) -> np.ndarray:
    u, v = _grid()
    fold = 0.5 - np.abs(u - 0.5)  # 0 to 0.5 and back
    return _inside(0.18 - np.abs((v - fold + 0.25) % 1.0 - 0.5))


def _gridded(seed: int) -> np.ndarray:
    u, v = _grid()
    return np.maximum(_inside(0.11 - np.abs(u - 0.5)), _inside(0.11 - np.abs(v - 0.5)))


def _waves(seed: int, across: int, along: int, count: int) -> np.ndarray:
    """Smooth noise around 0 that repeats: `count` waves with up to `across` by `along` periods per repeat."""
    rng = np.random.default_rng(seed)
    u, v = _grid()
    total = np.zeros((PIXELS, PIXELS))
    for _ in range(count):
        x, y = rng.integers(1, across + 1), rng.integers(-along, along + 1)
        total += np.cos(2 * np.pi * (x * u + y * v + rng.random()))
    return total / np.sqrt(count / 2)


def _wooden(seed: int) -> np.ndarray:
    u, v = _grid()
    drift = 0.22 * _waves(seed, 1, 1, 3)  # bends the growth rings
    lines = 0.5 + 0.5 * np.sin(2 * np.pi * (5 * u + drift))
    return 0.75 * lines**3 + 0.12 * _inside(0.012 - np.abs(u - 0.5))


def _stone(seed: int) -> np.ndarray:
    return 0.8 * _inside((_waves(seed, 9, 9, 10) - 1.1) / 12)


def _metal(seed: int) -> np.ndarray:
    u, v = _grid()
    return (0.5 + 0.5 * np.cos(2 * np.pi * (u + v))) ** 3


_SHADES: dict[str, Callable[[int], np.ndarray]] = {
    "striped": _striped,
    "checked": _checked,
    "dotted": _dotted,
    "zigzag": _zigzag,
    "gridded": _gridded,
    "wooden": _wooden,
    "stone": _stone,
    "metal": _metal,
}

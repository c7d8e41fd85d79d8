"""How two pictures of one object differ: their silhouettes, and the colours where both have some."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_IOU = 0.98
MOST_DIFFERENCE = 3.0  # CIEDE2000, on the mean
_COVERED = 128  # alpha from which a pixel counts as the object's
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])


@dataclass(frozen=True)
class Likeness:
    iou: float  # of the silhouettes, all views together
    difference: float  # mean CIEDE2000 over the area that both cover, on white

    @property
    def good(self) -> bool:
        return self.iou >= LEAST_IOU and self.difference <= MOST_DIFFERENCE


def likeness(ours: np.ndarray, theirs: np.ndarray) -> Likeness:
    """Of [V, S, S, 4] uint8 pictures; ours with straight alpha, theirs multiplied by it."""
    mask, other = ours[..., 3] >= _COVERED, theirs[..., 3] >= _COVERED
    union, common = (mask | other).sum(), mask & other
    iou = float(common.sum() / union) if union else 1.0
    if not common.any():
        return Likeness(iou, 0.0 if not union else 100.0)
    return Likeness(iou, float(ciede2000(lab(on_white(ours)[common]), lab(on_white(theirs, True)[common])).mean()))


def on_white(pixels: np.ndarray, multiplied: bool = False) -> np.ndarray:
    """[..., 3] float64 in 0..1"""
    values = pixels.astype(np.float64) / 255
    color = values[..., :3] if multiplied else values[..., :3] * values[..., 3:]
    return np.clip(color + 1 - values[..., 3:], 0, 1)


def lab(srgb: np.ndarray) -> np.ndarray:
    """[N, 3] CIE L*a*b* (D65) of [N, 3] sRGB colours in 0..1"""
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    ratio = light @ _XYZ.T / _WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[N] colour differences of [N, 3] L*a*b* colours, as CIE 142-2001 has them"""
    l1, a1, b1 = np.moveaxis(first, -1, 0)
    l2, a2, b2 = np.moveaxis(second, -1, 0)
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = np.arctan2(b1, a1 * stretch) % (2 * np.pi), np.arctan2(b2, a2 * stretch) % (2 * np.pi)
    turn = (h2 - h1 + np.pi) % (2 * np.pi) - np.pi  # the shorter way round
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, turn)
    hue = np.where(grey, h1 + h2, h1 + turn / 2)
    level, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = (
        1 - 0.17 * np.cos(hue - np.pi / 6) + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.radians(6)) - 0.20 * np.cos(4 * hue - np.radians(63))
    )  # fmt: skip
    blue = (np.degrees(hue) % 360 - 275) / 25
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.radians(60) * np.exp(-(blue**2)))
    d_level = (l2 - l1) / (1 + 0.015 * (level - 50) ** 2 / np.sqrt(20 + (level - 50) ** 2))
    d_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * chroma * weight)
    return np.sqrt(np.maximum(d_level**2 + d_chroma**2 + d_hue**2 + rotation * d_chroma * d_hue, 0))

"""Measure how close drawn views are to the true ones, both on white."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.artifacts.splat import Splat
from stages.fitting.ssim import WINDOW, mean_ssim, window_weights

_BEST_PSNR = 100.0  # decibels; equal images have no finite one


def on_white(premultiplied: np.ndarray) -> np.ndarray:
    """[..., 4] premultiplied colour and alpha to [..., 3]."""
    return premultiplied[..., :3] + (1 - premultiplied[..., 3:])


def premultiply(colors: np.ndarray) -> np.ndarray:
    """[..., 4] uint8 with straight alpha to float32 within 0 and 1, premultiplied."""
    scaled = colors.astype(np.float32) / np.float32(255)
    scaled[..., :3] *= scaled[..., 3:]
    return scaled


def psnr(drawn: np.ndarray, true: np.ndarray, where: np.ndarray | None = None) -> float:
    """PSNR of two [H, W, 3] in decibels, over the pixels of a mask [H, W] if given; colours are clipped to 0 and 1."""
    squares = (np.clip(drawn, 0, 1).astype(np.float64) - true) ** 2
    error = float(squares.mean() if where is None else squares[where].mean())
    return min(_BEST_PSNR, -10 * float(np.log10(max(error, 1e-12))))


def ssim(drawn: np.ndarray, true: np.ndarray) -> float | None:
    """Mean SSIM of two [H, W, 3] over their three channels; None for an image smaller than the window."""
    height, width = drawn.shape[:2]
    if min(height, width) < WINDOW:
        return None
    both = np.ascontiguousarray(np.stack([np.clip(drawn, 0, 1), true]).transpose(0, 3, 1, 2), np.float32)
    return sum(mean_ssim(both[0, channel], both[1, channel], window_weights()) for channel in range(3)) / 3


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def measure(draw: Callable[[Splat], np.ndarray], splat: Splat, colors: np.ndarray) -> dict[str, float | None]:
    """Means over views: `colors` [V, H, W, 4] uint8 are compared with draw(splat) [V, H, W, 4].

    A figure is None where no view has it. psnr_foreground is over the pixels that the object covers at least in part.
    """
    true = on_white(premultiply(colors))
    covered = colors[..., 3] > 0

    def seen(share: float) -> np.ndarray:
        return on_white(draw(splat.first(share))) if len(colors) else true

    whole = seen(1.0)
    likenesses = [ssim(*pair) for pair in zip(whole, true, strict=True)]
    return {
        "psnr": _mean([psnr(*pair) for pair in zip(whole, true, strict=True)]),
        "psnr_foreground": _mean([psnr(*views) for views in zip(whole, true, covered, strict=True) if views[2].any()]),
        "ssim": _mean([likeness for likeness in likenesses if likeness is not None]),
        "psnr_first_half": _mean([psnr(*pair) for pair in zip(seen(0.5), true, strict=True)]),
        "psnr_first_quarter": _mean([psnr(*pair) for pair in zip(seen(0.25), true, strict=True)]),
    }

"""Measure how close drawn views are to the true ones, both on white."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.artifacts.splat import Splat
from stages.common.compiled import compiled
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


@compiled
def _squared_errors(drawn: np.ndarray, colors: np.ndarray) -> tuple[float, float, int]:
    """Sums over [H, W, 4] on white, drawn (premultiplied, clipped to 0 and 1) against true (uint8, straight alpha).

    They are over all pixels, and over those that the object covers at least in part; the last number counts these.
    """
    total, foreground, count, unit = 0.0, 0.0, 0, np.float32(1)
    for y in range(drawn.shape[0]):
        for x in range(drawn.shape[1]):
            alpha, error = colors[y, x, 3] / np.float32(255), 0.0
            for channel in range(3):
                seen = min(max(drawn[y, x, channel] + (unit - drawn[y, x, 3]), np.float32(0)), unit)
                error += (seen - (colors[y, x, channel] / np.float32(255) * alpha + (unit - alpha))) ** 2
            total += error
            if colors[y, x, 3] > 0:
                foreground += error
                count += 1
    return total, foreground, count


def _decibels(squares: float, pixels: int) -> float:
    """The PSNR of a sum of squared errors over pixels of three channels."""
    return min(_BEST_PSNR, -10 * float(np.log10(max(squares / (3 * pixels), 1e-12))))


def ssim(drawn: np.ndarray, true: np.ndarray) -> float | None:
    """Mean SSIM of two [H, W, 3] over their three channels; None for an image smaller than the window."""
    height, width = drawn.shape[:2]
    if min(height, width) < WINDOW:
        return None
    both = np.ascontiguousarray(np.stack([np.clip(drawn, 0, 1), true]).transpose(0, 3, 1, 2), np.float32)
    return sum(mean_ssim(both[0, channel], both[1, channel], window_weights()) for channel in range(3)) / 3


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def compile_figures() -> None:
    """Measure a tiny view, so that numba compiles what it needs now, and not while a row is timed."""
    one = Splat(*(np.zeros((1, *shape), np.float32) for shape in ((3,), (3,), (4,), (), (1, 3))))
    shape = (1, WINDOW, WINDOW, 4)
    measure(lambda _: np.zeros(shape, np.float32), one, np.zeros(shape, np.uint8))


def measure(draw: Callable[[Splat], np.ndarray], splat: Splat, colors: np.ndarray) -> dict[str, float | None]:
    """Means over views: `colors` [V, H, W, 4] uint8 are compared with draw(splat) [V, H, W, 4].

    A figure is None where no view has it. psnr_foreground is over the pixels that the object covers at least in part.
    """
    pixels = colors.shape[1] * colors.shape[2]

    def drawn(share: float) -> np.ndarray:
        return draw(splat.first(share)) if len(colors) else np.zeros((0, *colors.shape[1:]), np.float32)

    whole = drawn(1.0)
    errors = [_squared_errors(*pair) for pair in zip(whole, colors, strict=True)]
    likenesses = [ssim(on_white(image), on_white(premultiply(true))) for image, true in zip(whole, colors, strict=True)]

    def psnr(images: np.ndarray) -> float | None:
        return _mean([_decibels(_squared_errors(*pair)[0], pixels) for pair in zip(images, colors, strict=True)])

    return {
        "psnr": _mean([_decibels(total, pixels) for total, _, _ in errors]),
        "psnr_foreground": _mean([_decibels(foreground, count) for _, foreground, count in errors if count]),
        "ssim": _mean([likeness for likeness in likenesses if likeness is not None]),
        "psnr_first_half": psnr(drawn(0.5)),
        "psnr_first_quarter": psnr(drawn(0.25)),
    }

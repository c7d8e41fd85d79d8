"""How close drawn views are to the true ones, both on white."""

from __future__ import annotations

import numpy as np

_WINDOW, _SIGMA = 11, 1.5  # of SSIM, as in its paper
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
    """Decibels between two [H, W, 3], over the pixels of a mask [H, W] if there is one; colours cut to 0 and 1."""
    squares = (np.clip(drawn, 0, 1).astype(np.float64) - true) ** 2
    error = float(squares.mean() if where is None else squares[where].mean())
    return min(_BEST_PSNR, -10 * float(np.log10(max(error, 1e-12))))


def _smooth(planes: np.ndarray) -> np.ndarray:
    """[..., H, W] through the Gaussian window, only where it fits."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    rows = sum(w * planes[..., k : planes.shape[-2] - _WINDOW + 1 + k, :] for k, w in enumerate(weights))
    return sum(w * rows[..., k : rows.shape[-1] - _WINDOW + 1 + k] for k, w in enumerate(weights))


def ssim(drawn: np.ndarray, true: np.ndarray) -> float | None:
    """Structural similarity of two [H, W, 3] over their three channels; None for an image smaller than the window."""
    if min(drawn.shape[:2]) < _WINDOW:
        return None
    x = np.clip(drawn, 0, 1).astype(np.float64).transpose(2, 0, 1)
    y = true.astype(np.float64).transpose(2, 0, 1)
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ratio = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((ratio / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def measure(drawn: np.ndarray, colors: np.ndarray) -> dict[str, float | None]:
    """Means over views: drawn [V, H, W, 4] premultiplied against colors [V, H, W, 4] uint8. None where no view tells.

    psnr_foreground looks at the pixels that the object covers at least in part.
    """
    whole, foreground, likeness = [], [], []
    for image, pixels in zip(on_white(drawn), colors, strict=True):
        true = on_white(premultiply(pixels))
        covered = pixels[..., 3] > 0
        whole.append(psnr(image, true))
        if covered.any():
            foreground.append(psnr(image, true, covered))
        similarity = ssim(image, true)
        if similarity is not None:
            likeness.append(similarity)
    return {"psnr": _mean(whole), "psnr_foreground": _mean(foreground), "ssim": _mean(likeness)}

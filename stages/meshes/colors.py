"""Convert the colours that mesh files give into linear ones."""

from __future__ import annotations

import numpy as np

# linear, with alpha
UNPAINTED = (0.55, 0.55, 0.55, 1.0)  # a surface without a colour: a light grey, which is visible on white
WHITE = (1.0, 1.0, 1.0, 1.0)


def srgb_colors(values: np.ndarray) -> np.ndarray:
    """[N, 4] float32 linear, of [N, 3 or 4] sRGB colours: integers of their type's range, or 0..1, or 0..255."""
    values = np.asarray(values)
    scale = 1.0
    if values.dtype.kind in "iu":
        scale = 65535.0 if values.dtype.itemsize == 2 and values.max(initial=0) > 255 else 255.0
    elif values.max(initial=0) > 2:  # computed light can be a little above 1
        scale = 255.0
    values = np.nan_to_num(values.astype(np.float32) / scale, nan=1.0, posinf=1.0, neginf=0.0)
    alpha = values[:, 3:4] if values.shape[1] > 3 and values[:, 3].any() else np.ones((len(values), 1), np.float32)
    return np.hstack([linear_of_srgb(values[:, :3]), np.clip(alpha, 0, 1)])


def linear_of_srgb(values: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values; both are in 0..1."""
    values = np.clip(np.asarray(values, np.float32), 0, 1)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)

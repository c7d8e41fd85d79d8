"""Draw a splat from cameras, on a CPU."""

from __future__ import annotations

import numpy as np

from stages.artifacts.splat import Splat
from stages.artifacts.views import Views
from stages.fitting.engines.cpu import CpuEngine
from stages.fitting.photos import Photos, photos_of


def draw_views(splat: Splat, seen: Views, views: list[int], antialiased: bool) -> np.ndarray:
    """[V, H, W, 4] uint8 with straight alpha, as the views themselves."""
    return draw_straight(splat, photos_of(seen).take(views), antialiased)


def draw_straight(splat: Splat, cameras: Photos, antialiased: bool) -> np.ndarray:
    """[V, H, W, 4] uint8 with straight alpha."""
    drawn = CpuEngine().draw(splat, cameras, antialiased)
    alpha = np.clip(drawn[..., 3:], 0, 1)
    colors = np.clip(drawn[..., :3] / np.maximum(alpha, 1e-6), 0, 1)
    return np.round(np.concatenate([colors, alpha], axis=-1) * 255).astype(np.uint8)

"""Convert a splat that was fitted for one way of drawing to the other: classic or antialiased.

The splat is drawn from all sides in its own way, and fitted to these pictures in the other. This needs neither mesh nor
views. docs/fitting.md has figures.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stages.artifacts.splat import Splat
from stages.contract.stage import StageError
from stages.fitting.drawing import draw_straight
from stages.fitting.engines.cpu import CpuEngine
from stages.fitting.photos import Photos
from stages.fitting.problem import FitProblem, Method
from stages.rendering import cameras

_VIEWS, _STEPS = 32, 100


def convert(splat: Splat, antialiased: bool, pixels: int, fov_deg: float) -> Splat:
    """The splat for antialiased drawing, or for classic; it was fitted for the other. Raise ValueError if it cannot be.

    pixels: width and height of a view that shows the whole unit sphere. At this size both look most alike.
    """
    poses = cameras.look_at_centre(cameras.fibonacci(_VIEWS, seed=0), fov_deg)
    sides = Photos(
        np.zeros((_VIEWS, pixels, pixels, 4), np.uint8),
        np.zeros((_VIEWS, pixels, pixels), np.float32),
        cameras.intrinsics(_VIEWS, pixels, fov_deg).astype(np.float32),
        np.linalg.inv(poses).astype(np.float32),
    )
    sides = replace(sides, colors=draw_straight(splat, sides, not antialiased))
    method = Method(len(splat), _STEPS, splat.degree, antialiased=antialiased, early_stop=False)
    ((_, converted),) = CpuEngine().fit([FitProblem("splat", sides, splat, method, seed=0)])
    if isinstance(converted, StageError):
        raise ValueError(f"it cannot be converted: {converted}")
    return converted.splat

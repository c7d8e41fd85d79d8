"""Choose the views that a contact sheet shows, and draw fitted splats from the same cameras."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from manifests.outcomes import DamagedFile
from pipeline.planning.row_states import State
from pipeline.planning.run import Run
from stages.artifacts.splat import Splat
from stages.artifacts.views import Views

CHOSEN = 2  # views, where none are named
_ABOVE = math.radians(20)  # people look at an object from a little above
_SPLAT = "splat"  # the column that names the artifact


def choose_views(seen: Views) -> list[int]:
    """Two views that show the object well: from a little above, much to be seen, and from different sides."""
    positions = seen.camera_to_world[:, :3, 3].astype(np.float64)
    directions = positions / np.maximum(np.linalg.norm(positions, axis=1, keepdims=True), 1e-9)
    tilt = np.arcsin(np.clip(directions[:, 1], -1, 1)) - _ABOVE
    detail = np.array([len(png) for png in seen.colors], np.float64)  # a picture with more in it takes more bytes
    merit = detail * np.cos(tilt) ** 4
    first = int(merit.argmax())
    apart = (1 - directions @ directions[first]) / 2
    chosen = [first, int((merit * apart).argmax())]
    return list(dict.fromkeys(chosen))


def draw_fitted(run: Run, index: int, seen: Views, views: list[int]) -> list[Image.Image]:
    """The splat of a row from the cameras of these views; empty where it has none that can be read."""
    step = next((step for step in run.plan.steps.values() if step.stage.artifact == _SPLAT), None)
    if step is None or run.plan.states[step.name][index] != State.OK:
        return []
    try:
        stored = run.plan.outcomes.read(step.name, run.plan.key(step.name, index))
        splat = Splat.from_ply(run.plan.outcomes.read_artifact(stored))
    except (FileNotFoundError, DamagedFile, ValueError):
        return []
    from stages.fitting.drawing import draw_views

    antialiased = bool(step.stage.settings().get("antialiased"))
    return [Image.fromarray(pixels) for pixels in draw_views(splat, seen, views, antialiased)]

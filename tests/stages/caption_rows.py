"""Rows as render leaves them, for the engines that look: discs of any size and colour, seen from around."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manifests.store import LocalStore
from stages.artifacts.views import Views
from stages.caption import Caption
from stages.contract.stage import Context, Outcome
from stages.rendering.cameras import fibonacci, look_at_centre

Colour = tuple[int, int, int]
SIZE = 64
RED, GREEN, BLUE = (200, 30, 30), (30, 160, 30), (30, 30, 200)


def disc(radius: float, colour: Colour = RED, size: int = SIZE) -> bytes:
    """A PNG with alpha; a radius of 1 touches the edges."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    inside = axis[:, None] ** 2 + axis[None] ** 2 <= radius**2
    pixels = np.zeros((size, size, 4), np.uint8)
    pixels[inside] = (*colour, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def views_of(colors: Sequence[bytes]) -> Views:
    count = len(colors)
    return Views(
        colors=list(colors),
        depths=[disc(0)] * count,
        intrinsics=np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
        camera_to_world=look_at_centre(fibonacci(count, 0), 40).astype(np.float32),
        depth_scale=1.0,
        normalization=np.eye(4),
    )


class Desk:
    """A store with rows in it, and a worker's context."""

    def __init__(self, folder: Path):
        self.store = LocalStore(str(folder))
        self.context = Context(self.store, folder)

    def keep(self, name: str, data: bytes) -> str:
        self.store.replace(f"artifacts/{name}", data)
        return f"artifacts/{name}"

    def row(self, row_id: str, colours: Sequence[Colour] = (RED,) * 4, /, **more: Any) -> dict[str, Any]:
        views = views_of([disc(0.6, colour) for colour in colours])
        kept = self.keep(f"{row_id}.zip", views.to_bytes())
        return {"id": row_id, "key": f"{sum(row_id.encode()):08x}", "uri": f"{row_id}.glb", "views": kept, **more}

    def outcomes(self, stage: Caption, *rows: dict[str, Any]) -> dict[str, Outcome]:
        return dict(stage.open(self.context)(list(rows)))

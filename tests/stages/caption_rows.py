"""Rows as render leaves them, for engines that look at views: discs of any size and colour, from all directions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from stages.artifacts.views import Views
from stages.rendering.cameras import fibonacci, look_at_centre
from tests.stages.run_folder import RunFolder

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


class CaptionFolder(RunFolder):
    """A run folder with rendered rows."""

    def row(self, row_id: str, colours: Sequence[Colour] = (RED,) * 4, /, **more: Any) -> dict[str, Any]:
        """A row with a view of a disc in each of these colours."""
        views = self.put(f"{row_id}.zip", views_of([disc(0.6, colour) for colour in colours]).to_bytes())
        return {"id": row_id, "key": f"{sum(row_id.encode()):08x}", "uri": f"{row_id}.glb", "views": views, **more}

"""Renders meshes with the render stage and with three.js, and says how alike they are."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from manifests.store import open_store
from stages.artifacts import bundle
from stages.artifacts.views import Views
from stages.contract.stage import Context, Done, Outcome, Row, StageError, Work
from stages.ingest import Ingest
from stages.render import Render
from tests.render.browser import Eye, EyeError
from tests.render.comparing import LEAST_IOU, MOST_DIFFERENCE, Likeness, likeness, on_white

_SIZE = 512
_CLOSER = 1024  # for what seems unlike: a bowstring half a pixel thick is judged by where single samples lie
_works: dict[int, Work] = {}


@dataclass(frozen=True)
class Sight:
    """What came of one mesh: a likeness with its pictures, or why there is none."""

    name: str
    likeness: Likeness | None = None
    ours: np.ndarray | None = None  # [V, S, S, 4] uint8, straight alpha
    theirs: np.ndarray | None = None  # [V, S, S, 4] uint8, multiplied by alpha
    refused: str = ""  # by ingest or render
    failed: str = ""  # in three.js

    @property
    def verdict(self) -> str:
        if self.likeness is None:
            return "refused" if self.refused else "not shown by three.js"
        return "alike" if self.likeness.good else "not alike"

    def badness(self) -> float:
        """1 is just good."""
        if self.likeness is None:
            return 0.0
        return max((1 - self.likeness.iou) / (1 - LEAST_IOU), self.likeness.difference / MOST_DIFFERENCE)

    def line(self) -> str:
        if self.likeness is None:
            return f"{self.name}: {'refused: ' + self.refused if self.refused else 'three.js: ' + self.failed}"
        return f"{self.name}: IoU {self.likeness.iou:.4f}, CIEDE2000 {self.likeness.difference:.2f}"


def _render(row: Row, folder: str, size: int) -> Outcome:
    """In the drawing process: what a worker does, one renderer for each size."""
    if size not in _works:
        _works[size] = Render(views=6, size=size, light="none", sides="author").open(
            Context(open_store(folder), Path(folder))
        )
    ((_, outcome),) = _works[size]([row])
    return outcome


def sights(eye: Eye, sources: list[tuple[str, Path]]) -> Iterator[Sight]:
    """One for each (name, path), in their order; ours are drawn in a process of their own, as a worker does."""
    before = dict(os.environ)
    os.environ.update(Render.environment)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        ):
            for name, path in sources:
                sight = _sight(eye, pool, name, path, folder, _SIZE)
                if sight.verdict == "not alike":
                    sight = _sight(eye, pool, name, path, folder, _CLOSER)
                yield sight
    finally:
        os.environ.clear()
        os.environ.update(before)


def _sight(eye: Eye, pool: ProcessPoolExecutor, name: str, path: Path, folder: str, size: int) -> Sight:
    store = open_store(folder)
    ((_, taken),) = Ingest().open(Context(store, Path(folder)))([{"id": name, "uri": str(path)}])
    if isinstance(taken, StageError):
        return Sight(name, refused=f"{taken.reason}: {taken.detail}")
    store.replace("mesh.zip", taken.artifact or b"")
    row = {"id": name, "key": "0" * 32, **taken.columns, "mesh": "mesh.zip"}
    outcome = pool.submit(_render, row, folder, size).result()
    if not isinstance(outcome, Done):
        return Sight(name, refused=f"{outcome.reason}: {outcome.detail}")
    views = Views.from_bytes(outcome.artifact or b"")
    try:
        theirs = eye.see(bundle.unpack(taken.artifact or b""), taken.columns["mesh_name"], views, size)
    except EyeError as error:
        return Sight(name, failed=str(error))
    ours = views.color_pixels()
    return Sight(name, likeness(ours, theirs), ours, theirs)


def picture(sight: Sight) -> Image.Image:
    """Our views, three.js' views, and where they differ, in three rows."""
    assert sight.ours is not None and sight.theirs is not None
    count, size = sight.ours.shape[:2]
    sheet = Image.new("RGB", (count * size, 3 * size + 16), "white")
    ImageDraw.Draw(sheet).text((4, 2), f"{sight.line()}   rows: render, three.js, difference", fill="black")
    for index in range(count):
        mine = Image.fromarray((on_white(sight.ours[index]) * 255).round().astype(np.uint8))
        other = Image.fromarray((on_white(sight.theirs[index], True) * 255).round().astype(np.uint8))
        for row, image in enumerate((mine, other, ImageChops.difference(mine, other))):
            sheet.paste(image, (index * size, 16 + row * size))
    return sheet

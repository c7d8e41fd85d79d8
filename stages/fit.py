"""Fit Gaussians to one object's views.

in:  views
out: splat (INRIA PLY; Gaussians in farthest-point order, so that any prefix is well spread), gaussian_count, steps,
     held_out (indices of the views that the fit never saw), and on those, on white: psnr, psnr_foreground, ssim
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from manifests.store import Store
from stages.stage import Context, Done, Outcome, Row, RowId, Stage, StageError, Work, seed_of

if TYPE_CHECKING:
    from stages.fitting.problem import Engine, FitProblem, FitResult, Photos


class Fit(Stage):
    """Fit Gaussians to one object's views.  in: views   out: splat, psnr, psnr_foreground, ssim, gaussian_count"""

    needs: ClassVar[tuple[str, ...]] = ("render",)
    artifact: ClassVar[str] = "splat"
    suffix: ClassVar[str] = ".ply"
    environment: ClassVar[dict[str, str]] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    gaussians: int = Field(4096, ge=1, le=1_000_000)
    """Gaussians an object at most; fewer where the views show less surface."""
    steps: int = Field(400, ge=0, le=1_000_000)
    """Views drawn and stepped on, one a step."""
    engine: Literal["auto", "cpu"] = "auto"
    """What fits: `cpu` (one object a core); `auto` takes the fastest that the worker's machine has."""
    hold_out: int = Field(8, ge=0, le=10_000)
    """Every which view is kept from the fit, to measure it on; 0 keeps none, 1 would leave none to fit."""
    sh_degree: Literal[0] = 0
    """Degree of the colours' spherical harmonics: 0 is one colour from all sides."""

    @field_validator("hold_out")
    @classmethod
    def _leave_views_to_fit(cls, every: int) -> int:
        if every == 1:
            raise ValueError("1 would hold out every view: expected 0 (none) or at least 2")
        return every

    def resolve(self, gpus: float) -> Fit:
        return self.model_copy(update={"engine": "cpu"}) if self.engine == "auto" else self

    def open(self, context: Context) -> Work:
        from stages.fitting.cpu import CpuEngine

        engine = CpuEngine()
        return lambda rows: self._work(rows, context.store, engine)

    def _work(self, rows: list[Row], store: Store, engine: Engine) -> Iterator[tuple[RowId, Outcome]]:
        measured: dict[RowId, tuple[Photos, list[int]]] = {}
        refused: list[tuple[RowId, StageError]] = []

        def problems() -> Iterator[FitProblem]:  # read as the engine asks for them: a batch need not fit in memory
            for row in rows:
                try:
                    problem, *measured[row["id"]] = self._problem(row, store)
                except StageError as error:
                    refused.append((row["id"], error))
                else:
                    yield problem

        for row_id, result in engine.fit(problems()):
            yield from refused
            refused.clear()
            yield row_id, result if isinstance(result, StageError) else _done(engine, result, *measured.pop(row_id))
        yield from refused

    def _problem(self, row: Row, store: Store) -> tuple[FitProblem, Photos, list[int]]:
        """What to fit, and what to measure it on."""
        from stages.fitting.photos import read_photos
        from stages.fitting.problem import FitProblem
        from stages.fitting.start import start_from

        photos = read_photos(row["views"], store.read(row["views"]))
        held_out = held_out_views(len(photos), self.hold_out)
        training = photos.take([view for view in range(len(photos)) if view not in held_out])
        start = start_from(training, self.gaussians, seed_of(row))
        return FitProblem(row["id"], training, start, self.steps, seed_of(row)), photos.take(held_out), held_out


def held_out_views(count: int, every: int) -> list[int]:
    """Every which view from the middle of the first run on (4, 12, 20 of 24 for 8); the first is always trained on."""
    return list(range(every // 2, count, every)) if every else []


def _done(engine: Engine, result: FitResult, photos: Photos, held_out: list[int]) -> Done:
    from stages.fitting.quality import measure

    columns = {"gaussian_count": len(result.splat), "steps": result.steps, "held_out": held_out}
    drawn = engine.draw(result.splat, photos) if held_out else np.zeros_like(photos.colors, np.float32)
    return Done(columns={**columns, **measure(drawn, photos.colors)}, artifact=result.splat.to_ply())

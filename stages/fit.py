"""Fit Gaussians to one object's views.

in:  views, warnings (from render)
out: splat (INRIA PLY; Gaussians in farthest-point order, so that any prefix is well spread), gaussian_count, steps
     (taken), held_out (indices of the views that were not used), and measured on those, over white: psnr,
     psnr_foreground, ssim, and psnr_first_half and psnr_first_quarter of the first Gaussians alone, enlarged; warnings

docs/fitting.md describes the method, the quality that it reaches, and what was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field, field_validator
from typing_extensions import TypedDict

from manifests.dataset import Column, Shape
from manifests.store import Store
from stages.common.choices import one_of
from stages.contract.schedule import Schedule
from stages.contract.shown import Figure, Shown
from stages.contract.stage import (
    Context,
    Done,
    Outcome,
    ReadArtifact,
    Reason,
    Row,
    RowId,
    Stage,
    StageError,
    Work,
    read_input,
    seed_of,
)
from stages.fitting.engines import AUTO, CHOICES, describe_engines, first_engine, is_on_gpu, open_engine

if TYPE_CHECKING:
    from stages.fitting.photos import Photos
    from stages.fitting.problem import Engine, FitProblem, FitResult


_POOR = 27.0  # dB on held-out views; an object below it gets a warning
_CAUSES = ("translucent", "culled")  # how the warnings of render begin that explain a poor fit


def _for_each_gaussian(numbers: int) -> Callable[[Shape], pa.DataType]:
    return lambda shape: pa.list_(shape.real, shape.gaussians * numbers)


def _harmonics(shape: Shape) -> pa.DataType:
    return _for_each_gaussian(3 * shape.sh_coefficients)(shape)


# Padding is tiny, at the origin, and has an opacity of 2e-9.
_GAUSSIANS = (
    Column("means", _for_each_gaussian(3), "[N, 3], centres in the unit sphere's frame", padding=0.0),
    Column("log_scales", _for_each_gaussian(3), "[N, 3], natural log of the axes' standard deviations", padding=-10.0),
    Column("quaternions", _for_each_gaussian(4), "[N, 4], w x y z, not necessarily of length 1", padding=(1, 0, 0, 0)),
    Column("opacity_logits", _for_each_gaussian(1), "[N], opacity = sigmoid(logit)", padding=-20.0),
    Column("sh", _harmonics, "[N, K, 3], rgb at degree 0 = 0.28209479 sh[:, 0] + 0.5", padding=0.0),
)


@dataclass(frozen=True)
class HeldOut:
    """The views of one object that the fit does not use."""

    views: list[int]  # their indices
    photos: Photos
    causes: list[str]  # of a poor fit, if it is one: from the warnings of render


class FitOutcome(TypedDict):
    """The columns of an outcome; a figure is None where no view was held out."""

    gaussian_count: int
    steps: int
    held_out: list[int]
    psnr: float | None
    psnr_foreground: float | None
    ssim: float | None
    psnr_first_half: float | None
    psnr_first_quarter: float | None
    warnings: list[str]
    splat: str


class Fit(Stage):
    """Fit Gaussians to one object's views.  in: views   out: splat, psnr, psnr_foreground, ssim, gaussian_count"""

    version: ClassVar[int] = 3  # 2: finishes with D-SSIM once the loss has settled; 3: a shorter finish, another start
    needs: ClassVar[tuple[str, ...]] = ("render",)
    artifact: ClassVar[str] = "splat"
    suffix: ClassVar[str] = ".ply"
    environment: ClassVar[dict[str, str]] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    shown: ClassVar[Shown] = Shown(
        figures=(
            Figure("psnr", "PSNR on held-out views", "dB", is_quality=True),
            Figure("ssim", "SSIM on held-out views", is_quality=True),
        )
    )
    outcome: ClassVar[Any] = FitOutcome
    columns: ClassVar[tuple[Column, ...]] = (
        Column("held_out", pa.list_(pa.int32()), "indices of the views that the fit never saw", missing=[]),
        *_GAUSSIANS,
        Column("gaussian_count", pa.int32(), "real Gaussians among N; those after are padding: finite, transparent"),
        Column("psnr", pa.float32(), "dB over the held-out views, white background"),
        Column("psnr_foreground", pa.float32(), "dB over the object's pixels of the held-out views"),
        Column("ssim", pa.float32(), "over the held-out views, white background"),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("empty_views", "no view shows the object", "look at the object with `sheet`"),
        Reason(
            "unequal_views",
            "views of unequal size, or depth of another size than the views",
            "make all views the same size, with depth of that size",
        ),
        Reason(
            "bad_cameras", "a camera that is not a finite, invertible pose with a focal length", "correct the cameras"
        ),
        Reason(
            "no_hull",
            "the views have no common visual hull: the cameras do not fit the images",
            "correct the cameras: OpenCV axes, camera to world",
        ),
        Reason("not_finite", "the fit diverged", "report it with the mesh"),
        Reason(
            "low_quality",
            "the held-out PSNR is below `fit.min_psnr`",
            "raise `fit.gaussians` or `fit.steps`, or lower `fit.min_psnr`",
        ),
        Reason(
            "out_of_memory",
            "the GPU had no room for one object",
            "lower `fit.gaussians` or `render.size`",
            transient=True,
        ),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=1, gpus=1, batch=4, memory_gb=6, timeout_seconds=300)

    gaussians: int = Field(4096, ge=1, le=1_000_000)
    """The most Gaussians of an object; it has fewer if its views show little surface."""
    steps: int = Field(400, ge=0, le=1_000_000)
    """The most optimisation steps; each draws one view."""
    early_stop: bool = True
    """Finish as soon as the training loss has settled."""
    engine: Annotated[str, one_of(CHOICES)] = Field(
        AUTO,
        description=f"The implementation. {describe_engines()}; "
        f"`auto`: {first_engine(on_gpu=True)} if workers have a GPU, else {first_engine(on_gpu=False)}.",
    )
    hold_out: int = Field(8, ge=0, le=10_000)
    """One view in so many is held out: not used for the fit, but to measure its quality. 0 holds out none."""
    sh_degree: int = Field(0, ge=0, le=3)
    """Degree of the colours' spherical harmonics; with 0, a Gaussian has one colour from all sides."""
    ssim_lambda: float = Field(0.2, ge=0, le=1)
    """Share of D-SSIM in the loss of the finish, which is the last quarter of the steps."""
    antialiased: bool = False
    """Draw Gaussians that are thinner than a pixel fainter, for splats that will be seen from afar."""
    min_psnr: float | None = Field(None, gt=0)
    """Fail objects with a lower PSNR on their held-out views, in decibels, as low_quality; null keeps all."""

    @field_validator("hold_out")
    @classmethod
    def _check_hold_out(cls, every: int) -> int:
        if every == 1:
            raise ValueError("1 would hold out every view: expected 0 (none) or at least 2")
        return every

    @property
    def on_gpu(self) -> bool:
        return is_on_gpu(self.engine)

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Fit:
        if self.engine != AUTO:
            return self
        engine = before.engine if isinstance(before, Fit) else first_engine(on_gpu=gpus > 0)
        return self.model_copy(update={"engine": engine})

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        from stages.artifacts.splat import Splat

        splat = artifact(Splat.from_ply)
        parts = {column.name: getattr(splat, column.name) for column in cls.columns if column.padding is not None}
        return super().entry(outcome, artifact, row) | parts | {"gaussian_count": len(splat)}

    def check_artifact(self, data: bytes) -> None:
        from stages.artifacts.splat import Splat

        Splat.from_ply(data)

    def open(self, context: Context) -> Work:
        from stages.fitting.start import compile_start

        compile_start()
        engine = open_engine(self.engine, context.device)
        return lambda rows: self._work(rows, context, engine)

    def _work(self, rows: list[Row], context: Context, engine: Engine) -> Iterator[tuple[RowId, Outcome]]:
        from stages.common.prefetch import in_background, prefetch

        threads = max(2, context.threads) if self.on_gpu else context.threads  # a GPU waits for no preparation
        held_out: dict[RowId, HeldOut] = {}
        refused: list[tuple[RowId, StageError]] = []

        def problems() -> Iterator[FitProblem]:  # made as the engine takes them: a batch need not fit in memory
            made = prefetch(lambda row: self._prepare(row, context.store), rows, threads)
            for row, prepared in zip(rows, made, strict=True):
                if isinstance(prepared, StageError):
                    refused.append((row["id"], prepared))
                else:
                    problem, held_out[row["id"]] = prepared
                    yield problem

        def outcome(fitted: tuple[RowId, FitResult | StageError]) -> tuple[RowId, Outcome]:
            row_id, result = fitted
            views = held_out.pop(row_id)
            return row_id, result if isinstance(result, StageError) else self._done(engine, result, views)

        for named_outcome in in_background(outcome, engine.fit(problems()), threads - 1):
            yield from refused
            refused.clear()
            yield named_outcome
        yield from refused

    def _prepare(self, row: Row, store: Store) -> tuple[FitProblem, HeldOut] | StageError:
        """Read a row's views, and make the problem of those that are not held out."""
        from stages.fitting.photos import read_photos
        from stages.fitting.problem import FitProblem, Method
        from stages.fitting.start import start_from

        method = Method(self.gaussians, self.steps, self.sh_degree, self.ssim_lambda, self.antialiased, self.early_stop)
        try:
            photos = read_input(store, row, "views", "render", partial(read_photos, row["views"]))
            held_out = held_out_views(len(photos), self.hold_out)
            training = photos.take([view for view in range(len(photos)) if view not in held_out])
            start = start_from(training, self.gaussians, seed_of(row))
        except StageError as error:
            return error
        problem = FitProblem(row["id"], training, start, method, seed_of(row))
        warnings = row.get("warnings") or []
        causes = [cause for cause in _CAUSES if any(text.startswith(f"{cause}:") for text in warnings)]
        return problem, HeldOut(held_out, photos.take(held_out), causes)

    def _done(self, engine: Engine, result: FitResult, held_out: HeldOut) -> Outcome:
        from stages.fitting.quality import measure

        photos = held_out.photos
        columns: Row = {"gaussian_count": len(result.splat), "steps": result.steps, "held_out": held_out.views}
        figures = measure(lambda splat: engine.draw(splat, photos, self.antialiased), result.splat, photos.colors)
        psnr = figures["psnr"]
        if self.min_psnr is not None and psnr is not None and psnr < self.min_psnr:
            return StageError("low_quality", f"{psnr:.2f} dB on held-out views; fit.min_psnr is {self.min_psnr:g}")
        columns["warnings"] = _warnings(psnr, held_out.causes)
        return Done(columns={**columns, **figures}, artifact=result.splat.to_ply())


def _warnings(psnr: float | None, causes: list[str]) -> list[str]:
    """One line about a poor fit, none about a good one."""
    if psnr is None or psnr >= _POOR:
        return []
    why = f"probably because the object is {' and '.join(causes)}" if causes else "compare its splat with its views"
    return [f"poor fit: {psnr:.1f} dB on held-out views (below {_POOR:g}); {why}"]


def held_out_views(count: int, every: int) -> list[int]:
    """The indices of the held-out views: for 24 views and every 8th, they are 4, 12 and 20. The first is never one."""
    return list(range(every // 2, count, every)) if every else []

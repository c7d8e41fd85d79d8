"""The engine gsplat: many objects in one launch, in torch, with gsplat's rasterization on a GPU.

An object that is finished makes room for the next. The host waits for the device once per round (see step_schedule.py),
and a thread puts the Gaussians of finished objects in order meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from stages.artifacts.splat import Splat
from stages.common.prefetch import in_background
from stages.contract.stage import StageError
from stages.fitting.in_torch.batch import Batch, bytes_of
from stages.fitting.in_torch.drawing import Rasterizer
from stages.fitting.kernels import rasterization
from stages.fitting.parameters import pack, unpack
from stages.fitting.photos import Photos
from stages.fitting.problem import Engine, FitProblem, FitResult, finish
from stages.fitting.quality import compile_figures

_BATCH_SIZE = 256  # objects
_MEMORY_SHARE = 0.6  # of the free memory, for a batch by its estimate

NamedResult = tuple[str, FitResult | StageError]  # with the id of its problem


@dataclass(frozen=True)
class _Fitted:
    """An object that has left the batch: its id and rows [R, N] (see parameters.py), or why it has none."""

    id: str
    rows: np.ndarray | StageError
    steps: int = 0


def open_engine(device: str) -> Engine:
    """Make an engine, and compile the figures now, and not while a row is timed."""
    compile_figures()
    return BatchedEngine(rasterization(), device)


class BatchedEngine:
    """Fits batches on any device with a function that has the arguments of gsplat.rasterization."""

    def __init__(self, rasterization: Callable[..., Any], device: str, batch_size: int = _BATCH_SIZE):
        self.rasterizer = Rasterizer(rasterization)
        self.device = torch.device(device)
        self.batch_size = batch_size

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[NamedResult]:
        return in_background(_result, self._fit_all(problems), threads=1)

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        arrays = pack(splat, splat.degree).T, photos.world_to_camera, photos.intrinsics
        parameters, poses, lenses = (torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in arrays)
        with torch.no_grad():
            return self.rasterizer.draw(parameters, poses, lenses, photos.size, antialiased).cpu().numpy()

    def _fit_all(self, problems: Iterable[FitProblem]) -> Iterator[_Fitted]:
        for _, alike in groupby(problems, key=lambda problem: (problem.photos.colors.shape, problem.method)):
            yield from self._fit_alike(_Queue(alike))

    def _fit_alike(self, queue: _Queue) -> Iterator[_Fitted]:
        """Fit objects with one method, and one number and size of views."""
        size = self.batch_size
        while (first := queue.take()) is not None:
            size = min(size, self._room_for(first))
            unfinished = [first]
            while len(unfinished) < size and (following := queue.take()) is not None:
                unfinished.append(following)
            try:
                yield from self._run(unfinished, queue)
                continue
            except torch.OutOfMemoryError:
                pass  # leave the except clause: the error's frames hold tensors
            torch.cuda.empty_cache()
            if len(unfinished) == 1:
                detail = "one object alone is too large for the GPU: lower fit.gaussians or render.size"
                error = StageError("out_of_memory", detail, transient=True)  # others may use the GPU
                yield _Fitted(unfinished[0].id, error)
            else:  # begin all of them again, fewer at once
                queue.put_back(unfinished)
                size = -(-len(unfinished) // 2)

    def _room_for(self, problem: FitProblem) -> int:
        if self.device.type != "cuda":
            return self.batch_size
        return max(1, int(_free_bytes(self.device) * _MEMORY_SHARE / bytes_of(problem)))

    def _run(self, unfinished: list[FitProblem], queue: _Queue) -> Iterator[_Fitted]:
        """Fit these problems, and the following ones as slots become free; keep the list `unfinished` up to date."""
        batch = Batch(unfinished, self.rasterizer, self.device)
        while batch.occupied():
            for slot, seat in batch.round().items():
                fitted = _Fitted(seat.problem.id, batch.rows(slot, len(seat.problem.start)), seat.steps_taken)
                unfinished.remove(seat.problem)
                batch.free(slot)
                yield fitted
                following = queue.take()
                if following is not None:
                    unfinished.append(following)
                    batch.load(slot, following)
            batch.shrink()


def _free_bytes(device: torch.device) -> int:
    """The device's free memory, and the memory that torch has reserved and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


class _Queue:
    """Problems that wait; those that are put back come first."""

    def __init__(self, problems: Iterable[FitProblem]):
        self._problems = iter(problems)
        self._returned: deque[FitProblem] = deque()

    def take(self) -> FitProblem | None:
        return self._returned.popleft() if self._returned else next(self._problems, None)

    def put_back(self, problems: Iterable[FitProblem]) -> None:
        self._returned.extendleft(reversed(list(problems)))


def _result(fitted: _Fitted) -> NamedResult:
    if isinstance(fitted.rows, StageError):
        return fitted.id, fitted.rows
    try:
        return fitted.id, finish(unpack(fitted.rows), fitted.steps)
    except StageError as error:
        return fitted.id, error

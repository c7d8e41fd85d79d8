"""The batched engine: many objects in one launch, in torch, with gsplat's rasterization on a GPU.

An object that is finished makes room for the next. The host waits for the device once a round (see pace.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch

from stages.artifacts.splat import Splat
from stages.contract.stage import StageError
from stages.fitting.batch import Batch, bytes_of
from stages.fitting.parameters import pack, unpack
from stages.fitting.photos import Photos
from stages.fitting.problem import FitProblem, FitResult, finished
from stages.fitting.rasters import Raster

_MOST = 256  # objects at once
_MEMORY_SHARE = 0.6  # of what is free, for a batch by its estimate

Told = tuple[str, FitResult | StageError]


class BatchedEngine:
    def __init__(self, rasterization: Callable[..., Any], device: str, most: int = _MOST):
        self.raster = Raster(rasterization)
        self.device = torch.device(device)
        self.most = most

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[Told]:
        for _, alike in groupby(problems, key=lambda problem: (problem.photos.colors.shape, problem.method)):
            yield from self._fit_alike(_Line(alike))

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        arrays = pack(splat, splat.degree).T, photos.world_to_camera, photos.intrinsics
        given = [torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays]
        with torch.no_grad():
            return self.raster.draw(*given, *photos.colors.shape[1:3], antialiased).cpu().numpy()

    def _fit_alike(self, line: _Line) -> Iterator[Told]:
        """Objects of one number of views, one size, one method."""
        most = self.most
        while (first := line.take()) is not None:
            most = min(most, self._room_for(first))
            held = [first]
            while len(held) < most and (following := line.take()) is not None:
                held.append(following)
            try:
                yield from self._run(held, line)
                continue
            except torch.OutOfMemoryError:
                pass  # what follows must not hold the tensors that the error's frames hold
            torch.cuda.empty_cache()
            if len(held) == 1:
                detail = "one object alone is too large for the GPU: lower fit.gaussians or render.size"
                yield held[0].id, StageError("out_of_memory", detail, transient=True)  # others may have held it
            else:  # all of them from their beginnings, fewer at once
                line.put_back(held)
                most = -(-len(held) // 2)

    def _room_for(self, problem: FitProblem) -> int:
        if self.device.type != "cuda":
            return self.most
        return max(1, int(_free_bytes(self.device) * _MEMORY_SHARE / bytes_of(problem)))

    def _run(self, held: list[FitProblem], line: _Line) -> Iterator[Told]:
        """Fit what is held, and what follows as slots become free; `held` is always what has not been told."""
        batch = Batch(held, self.raster, self.device)
        while batch.taken():
            for slot in batch.round():
                seat = batch.seats[slot]
                outcome = _outcome(batch.rows(slot), seat.steps_taken)
                held.remove(seat.problem)
                batch.free(slot)
                yield seat.problem.id, outcome
                following = line.take()
                if following is not None:
                    held.append(following)
                    batch.load(slot, following)
            batch.shrink()


def _free_bytes(device: torch.device) -> int:
    """What a batch may take: the device's free memory, and what torch holds of it without using it."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


class _Line:
    """Problems that wait; what is put back goes first."""

    def __init__(self, problems: Iterable[FitProblem]):
        self._coming = iter(problems)
        self._again: deque[FitProblem] = deque()

    def take(self) -> FitProblem | None:
        return self._again.popleft() if self._again else next(self._coming, None)

    def put_back(self, problems: Iterable[FitProblem]) -> None:
        self._again.extendleft(reversed(list(problems)))


def _outcome(rows: np.ndarray, steps: int) -> FitResult | StageError:
    try:
        return finished(unpack(rows), steps)
    except StageError as error:
        return error

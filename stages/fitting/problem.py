"""One object to fit, as every engine takes it, and what an engine makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.artifacts.splat import Splat
from stages.contract.stage import StageError
from stages.fitting.ordering import farthest_first
from stages.fitting.photos import Photos


@dataclass(frozen=True)
class Method:
    """How to fit; one view is drawn and stepped on a step."""

    gaussians: int  # at most
    steps: int  # at most
    sh_degree: int = 0
    similarity: float = 0.2  # share of D-SSIM in the loss of the finish
    antialiased: bool = False
    stop_early: bool = True
    parabola: np.float32 = np.float32(0.05)  # errors below are squared rather than absolute


@dataclass(frozen=True, eq=False)
class FitProblem:
    """Compared by identity: two rows may hold the same object."""

    id: str
    photos: Photos  # the training views alone
    start: Splat  # N Gaussians to begin with
    method: Method
    seed: int


@dataclass(frozen=True)
class FitResult:
    splat: Splat
    steps: int  # taken


class Engine(Protocol):
    """Fits many objects at once or one after the other, and yields each as it is finished."""

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult | StageError]]: ...

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        """[V, H, W, 4] float32: premultiplied colour and alpha of the splat, seen from the photos' cameras."""
        ...


def finished(splat: Splat, steps: int) -> FitResult:
    """What is written: checked, and in farthest-point order."""
    if not splat.is_finite():
        raise StageError("not_finite", f"the fit left numbers that are not finite after {steps} steps")
    return FitResult(splat.take(farthest_first(splat.means, len(splat))), steps)

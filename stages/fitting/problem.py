"""One object to fit, as every engine takes it, and the result that an engine gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.artifacts.splat import Splat
from stages.contract.stage import StageError
from stages.fitting.photos import Photos
from stages.fitting.sampling import farthest_first


@dataclass(frozen=True)
class Method:
    """How to fit; each step draws one view."""

    gaussians: int  # at most
    steps: int  # at most
    sh_degree: int = 0
    ssim_share: float = 0.2  # share of D-SSIM in the loss of the finish
    antialiased: bool = False
    early_stop: bool = True
    parabola: np.float32 = np.float32(0.05)  # smaller errors are squared instead of absolute


@dataclass(frozen=True, eq=False)
class FitProblem:
    """One row's object. Problems are compared by identity, since two rows may hold the same object."""

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
    """An implementation of the fit. See stages/fitting/engines for how one is added."""

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult | StageError]]:
        """Fit objects, together or one after the other, and yield each with its id as soon as it is finished."""
        ...

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        """Draw a splat from the photos' cameras: [V, H, W, 4] float32, premultiplied colour and alpha."""
        ...


def finish(splat: Splat, steps: int) -> FitResult:
    """Check the splat of a fit, and put its Gaussians into farthest-point order."""
    if not splat.is_finite():
        raise StageError("not_finite", f"the splat has numbers that are not finite after {steps} steps")
    return FitResult(splat.take(farthest_first(splat.means, len(splat))), steps)

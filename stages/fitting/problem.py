"""One object to fit, as every engine takes it, and what an engine makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.fitting.photos import Photos
from stages.splat import Splat
from stages.stage import StageError


@dataclass(frozen=True)
class FitProblem:
    id: str
    photos: Photos  # the training views alone
    start: Splat  # N Gaussians to begin with
    steps: int  # views drawn and stepped on
    seed: int


@dataclass(frozen=True)
class FitResult:
    splat: Splat
    steps: int  # taken


class Engine(Protocol):
    """Fits many objects at once or one after the other, and yields each as it is finished."""

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult | StageError]]: ...

    def draw(self, splat: Splat, photos: Photos) -> np.ndarray:
        """[V, H, W, 4] float32: premultiplied colour and alpha of the splat, seen from the photos' cameras."""
        ...

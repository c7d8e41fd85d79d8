"""How long a fit goes on, and how large its steps are: the same rules for every engine.

A fit approaches at full learning rates until its training loss has settled, at the latest after three quarters of its
steps. Then it finishes: a quarter of the steps, with falling rates, and D-SSIM beside the absolute errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

_FINISH = 0.25  # of all steps
LAST_RATE = 0.1  # of the full learning rates, at the end
_SETTLED = 0.95  # of the loss of two rounds that the next two must stay above
_SHORTEST_ROUND = 20  # steps; a round draws every view equally often


def round_of(views: int) -> int:
    """Steps of a round."""
    return views * max(1, round(_SHORTEST_ROUND / views))


def drawing_order(views: int, steps: int, random: np.random.Generator) -> np.ndarray:
    """[steps]: the view of each step; every run of `views` steps draws each of them once."""
    passes = -(-steps // views)
    return np.concatenate([random.permutation(views) for _ in range(passes)] or [np.zeros(0, np.int64)])[:steps]


@dataclass
class Pace:
    """One fit's; steps count from 0."""

    steps: int  # at most
    stop_early: bool = True
    finish_from: int = field(init=False)  # the first step of the finish
    rounds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.finish_from = self.steps - self.finish_steps

    @property
    def finish_steps(self) -> int:
        return math.ceil(self.steps * _FINISH)

    @property
    def end(self) -> int:
        """The number of steps, as far as known."""
        return self.finish_from + self.finish_steps

    def round_ended(self, step: int, loss: float) -> None:
        """Told after the last of a round's steps, the number of steps taken, with the round's loss."""
        self.rounds.append(loss)
        settled = len(self.rounds) >= 4 and sum(self.rounds[-2:]) > _SETTLED * sum(self.rounds[-4:-2])
        if self.stop_early and settled:
            self.finish_from = min(self.finish_from, step)

    def rate(self, step: int) -> float:
        """What the learning rates are multiplied with."""
        return LAST_RATE ** max(0.0, (step + 1 - self.finish_from) / max(self.finish_steps, 1))

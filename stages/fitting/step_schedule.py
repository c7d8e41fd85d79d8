"""How many steps a fit takes, and its learning rate at each: the same rules for every engine.

A fit approaches at full learning rates until its training loss has settled, at the latest after three quarters of its
steps. Then it finishes: with falling rates, and D-SSIM beside the absolute errors, for a quarter of the steps that it
takes in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

_FINISH = 0.25  # share of the steps taken
LAST_RATE = 0.1  # of the full learning rates, at the end
_SETTLED = 0.95  # the loss has settled if two rounds have more than this share of the two rounds before
_SHORTEST_ROUND = 20  # steps; a round draws every view equally often


def count_round_steps(views: int) -> int:
    """The number of steps of a round."""
    return views * max(1, round(_SHORTEST_ROUND / views))


def drawing_order(views: int, steps: int, random: np.random.Generator) -> np.ndarray:
    """[steps]: the view of each step; every `views` steps draw each view once."""
    passes = -(-steps // views)
    return np.concatenate([random.permutation(views) for _ in range(passes)] or [np.zeros(0, np.int64)])[:steps]


@dataclass
class StepSchedule:
    """The schedule of one fit; steps count from 0."""

    steps: int  # at most
    early_stop: bool = True
    finish_from: int = field(init=False)  # the first step of the finish; as `end`, as far as it is known
    end: int = field(init=False)  # the number of steps
    round_losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.finish_from, self.end = self.steps - math.ceil(self.steps * _FINISH), self.steps

    def end_round(self, step: int, loss: float) -> None:
        """Take the loss of a round that ended after so many steps; begin the finish if the loss has settled."""
        self.round_losses.append(loss)
        losses = self.round_losses
        settled = len(losses) >= 4 and sum(losses[-2:]) > _SETTLED * sum(losses[-4:-2])
        if self.early_stop and settled and step < self.finish_from:
            self.finish_from, self.end = step, min(self.steps, math.ceil(step / (1 - _FINISH)))

    def rate(self, step: int) -> float:
        """The factor of the learning rates."""
        return LAST_RATE ** max(0.0, (step + 1 - self.finish_from) / max(self.end - self.finish_from, 1))

"""Adam over the rows of the parameters, with one learning rate per row."""

from __future__ import annotations

import math

import numpy as np

from stages.common.compiled import compiled
from stages.fitting.conventions import EPSILON, FIRST_DECAY, LARGEST, SECOND_DECAY
from stages.fitting.parameters import COLOR, REST


@compiled
def adam(
    parameters: np.ndarray, gradients: np.ndarray, first: np.ndarray, second: np.ndarray, rates: np.ndarray, step: int
) -> None:
    """Take one step, counted from 1; all are [R, N] but rates [R]. RGB stays in 0 to 1, where it has a gradient."""
    one = np.float32(1)
    root = np.float32(math.sqrt(1 - SECOND_DECAY**step))
    for row in range(len(parameters)):
        rate = rates[row] * root / np.float32(1 - FIRST_DECAY**step)
        low, high = np.float32(-LARGEST), np.float32(LARGEST)
        if COLOR <= row < REST:
            low, high = np.float32(0), one
        values, slopes, mean, square = parameters[row], gradients[row], first[row], second[row]
        for i in range(len(values)):
            g = slopes[i]
            mean[i] = FIRST_DECAY * mean[i] + (one - FIRST_DECAY) * g
            square[i] = SECOND_DECAY * square[i] + (one - SECOND_DECAY) * g * g
            moved = values[i] - rate * mean[i] / (math.sqrt(square[i]) + EPSILON)
            values[i] = min(max(moved, low), high)

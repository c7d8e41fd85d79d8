"""Adam over the rows of the parameters, one learning rate a row."""

from __future__ import annotations

import math

import numpy as np

from stages.fitting.compiled import compiled
from stages.fitting.parameters import LARGEST
from stages.fitting.projection import COLOR, REST

FIRST, SECOND = np.float32(0.9), np.float32(0.999)  # decay of the first and second moment
EPSILON = np.float32(1e-15)


@compiled
def adam(parameters, gradients, first, second, rates, step):
    """One step, counted from 1; all [R, N] but rates [R]. RGB stays within 0 and 1, where its gradient lives."""
    one = np.float32(1)
    root = np.float32(math.sqrt(1 - SECOND**step))
    for row in range(len(parameters)):
        rate = rates[row] * root / np.float32(1 - FIRST**step)
        low, high = np.float32(-LARGEST), np.float32(LARGEST)
        if COLOR <= row < REST:
            low, high = np.float32(0), one
        values, slopes, mean, square = parameters[row], gradients[row], first[row], second[row]
        for i in range(len(values)):
            g = slopes[i]
            mean[i] = FIRST * mean[i] + (one - FIRST) * g
            square[i] = SECOND * square[i] + (one - SECOND) * g * g
            moved = values[i] - rate * mean[i] / (math.sqrt(square[i]) + EPSILON)
            values[i] = min(max(moved, low), high)

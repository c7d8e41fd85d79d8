"""Adam over the rows of the parameters, one learning rate a row."""

from __future__ import annotations

import math

import numpy as np

from stages.fitting.compiled import compiled
from stages.fitting.projection import COLOR, ROWS

FIRST, SECOND = np.float32(0.9), np.float32(0.999)  # decay of the first and second moment
EPSILON = np.float32(1e-15)


@compiled
def adam(parameters, gradients, first, second, rates, step):
    """One step, counted from 1; all [14, N] but rates [14]. Colours stay within 0 and 1, where their gradient lives."""
    one = np.float32(1)
    root = np.float32(math.sqrt(1 - SECOND**step))
    for row in range(ROWS):
        rate = rates[row] * root / np.float32(1 - FIRST**step)
        low, high = (np.float32(0), one) if row >= COLOR else (np.float32(-1e6), np.float32(1e6))
        values, slopes, mean, square = parameters[row], gradients[row], first[row], second[row]
        for i in range(len(values)):
            g = slopes[i]
            mean[i] = FIRST * mean[i] + (one - FIRST) * g
            square[i] = SECOND * square[i] + (one - SECOND) * g * g
            moved = values[i] - rate * mean[i] / (math.sqrt(square[i]) + EPSILON)
            values[i] = min(max(moved, low), high)

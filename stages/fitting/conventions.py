"""Numbers on which all engines agree: gsplat's conventions of drawing, and the constants of Adam."""

from __future__ import annotations

import numpy as np

NEAR = np.float32(0.01)  # Gaussians nearer to the camera are not drawn
BLUR = np.float32(0.3)  # square pixels, added to the covariance of each ellipse (gsplat's eps2d)

FIRST_DECAY, SECOND_DECAY = np.float32(0.9), np.float32(0.999)  # of Adam's first and second moment
EPSILON = np.float32(1e-15)
LARGEST = 1e6  # parameters are kept within -LARGEST and LARGEST, RGB within 0 and 1

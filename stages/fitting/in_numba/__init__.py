"""What the engine cpu computes with, compiled by numba: drawing Gaussians into one image, its gradient, and Adam."""

"""The work of the stage fit: from the views of an object to its Gaussians.

engines/ holds the engines, one file each; in_numba/ is what the engine cpu computes with, in_torch/ and kernels.py what
the engine gsplat does. The modules beside them are shared: photos (the views), start (the first Gaussians) and surface
(what depth shows), sampling and points (well-spread subsets, neighbours), parameters and conventions, step_schedule
(learning rates, early stopping), ssim and quality (the figures). drawing and conversion (to the other mode of drawing)
work on a finished splat.
"""

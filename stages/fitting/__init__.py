"""The work of the stage fit: from the views of an object to its Gaussians.

engines/ holds the engines, one file each; in_numba/ is what the engine cpu computes with, in_torch/ and kernels.py what
the engine gsplat does. The modules beside them are shared: photos (the views), start (the first Gaussians), parameters
and conventions, step_schedule (learning rates, early stopping), ssim and quality (the figures), points.
"""

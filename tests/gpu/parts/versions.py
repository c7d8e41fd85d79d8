"""Versions, and whether the kernels load and draw."""

from __future__ import annotations

import importlib.metadata
import platform
import time

import torch
from PIL import features

from stages.fitting.kernels import rasterization
from tests.gpu.part import Part, cores, read_arguments


def main(part: Part) -> None:
    gsplat = importlib.metadata.version("gsplat")
    part.figures.put(
        python=platform.python_version(),
        avif=features.check("avif"),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        gsplat=gsplat,
        cores=cores(),
    )
    if part.device == "cpu":
        part.figures.put(gpu="none", kernels="not loaded: no GPU")
        return
    free, total = torch.cuda.mem_get_info()
    part.figures.put(gpu=torch.cuda.get_device_name(), memory_gib=total / 2**30, free_gib=free / 2**30)
    begun = time.perf_counter()
    draw = rasterization()
    loaded = time.perf_counter() - begun
    part.figures.put(kernels="loaded", kernels_load_seconds=loaded, share_drawn=_share_drawn(draw))


def _share_drawn(draw) -> float:
    """The share of pixels that one large Gaussian before the camera covers: near 1 where the kernels work."""
    on = {"device": "cuda"}
    camera = torch.eye(4, **on)[None]
    lens = torch.tensor([[[32.0, 0, 32], [0, 32, 32], [0, 0, 1]]], **on)
    mean, turn = torch.tensor([[0.0, 0, 3]], **on), torch.tensor([[1.0, 0, 0, 0]], **on)
    scale, opacity, color = torch.full((1, 3), 4.0, **on), torch.tensor([0.99], **on), torch.ones(1, 3, **on)
    _, alphas, _ = draw(mean, turn, scale, opacity, color, camera, lens, 64, 64, packed=False)
    return float((alphas > 0.5).float().mean())


if __name__ == "__main__":
    main(read_arguments())

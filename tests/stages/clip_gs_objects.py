"""Random objects for the tests of clip_gs's network."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stages.clip_gs.batch import Batch, Gaussians

# What lies where a checkpoint should: torch's reader fails at each in another way.
TEXTS = (b"not a checkpoint", b"Repository not found", b"upstream error", b"step,loss", b"boat\ncup\n", b"run", b"")


def gaussians(count: int, amount: int, seed: int = 0) -> Gaussians:
    """In no particular order."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, amount, *shape, generator=random)

    means = normal(3) * torch.tensor([1.0, 0.6, 0.3])
    means = means - means.mean(1, keepdim=True)
    return Gaussians(
        means=means / means.norm(dim=-1).amax(1)[:, None, None],
        log_scales=normal(3) - 3,
        quaternions=F.normalize(normal(4), dim=-1),
        opacity_logits=normal(),
        colors=torch.rand(count, amount, 3, generator=random),
    )


def batch(count: int, amount: int, dimension: int, views: int = 3, seed: int = 0) -> Batch:
    """Each object with a text of its own, and views near it."""
    random = torch.Generator().manual_seed(seed)
    texts = F.normalize(torch.randn(count, dimension, generator=random), dim=-1)
    noise = torch.randn(count, views, dimension, generator=random)
    own = torch.arange(count)
    return Batch(
        ids=[f"object-{number}" for number in range(count)],
        gaussians=gaussians(count, amount, seed),
        views=F.normalize(texts[:, None] + noise / dimension**0.5, dim=-1),
        texts=texts,
        objects=own,
        meanings=own.clone(),
        own_meanings=own[:, None].clone(),
    )

"""Distinguish each object by each of its views from all others of the step; views that fit the text count for more."""

from __future__ import annotations

import torch

from stages.clip_gs.settings import Loss
from stages.clip_gs.training.losses.comparison import Comparison, info_nce


def loss(comparison: Comparison, settings: Loss) -> torch.Tensor:
    votes = votes_of(comparison.views, comparison.texts, settings)
    shares = [
        (votes[:, view] * info_nce(comparison.to_views(view), comparison.to_further_views)).mean()
        for view in range(comparison.views.shape[1])
    ]
    return torch.stack(shares).sum()


def votes_of(views: torch.Tensor, texts: torch.Tensor, settings: Loss) -> torch.Tensor:
    """[B, K]: the weight of each view, by its cosine to the text. With `paper`, a negative cosine counts as 0."""
    cosines = torch.einsum("bkd,bd->bk", views, texts)
    if settings.voting == "none":
        return torch.full_like(cosines, 1 / cosines.shape[1])
    if settings.voting == "softmax":
        return (cosines / settings.voting_temperature).softmax(dim=1)
    return cosines.clamp_min(0) / cosines.shape[1]

"""Distinguish each object by its text from all others of the step, and each text by its object."""

from __future__ import annotations

import torch

from stages.clip_gs.settings import Loss
from stages.clip_gs.training.losses.comparison import Comparison, info_nce


def loss(comparison: Comparison, settings: Loss) -> torch.Tensor:
    return info_nce(comparison.to_texts, comparison.to_further_texts).mean()

"""The loss: a weighted sum of terms. Each field of `LossWeights` (settings.py) is a term, in the file of its name.

A term's file has a function `loss(comparison, settings)` that returns a number, before its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch

from stages.clip_gs import settings
from stages.clip_gs.batch import Batch
from stages.clip_gs.training.losses.comparison import Comparison, Gather

Term = Callable[[Comparison, settings.Loss], torch.Tensor]


@dataclass(frozen=True)
class Losses:
    terms: dict[str, torch.Tensor]  # weighted
    accuracy: torch.Tensor  # the share of objects whose own text is the most similar one, detached

    @property
    def total(self) -> torch.Tensor:
        return torch.stack(list(self.terms.values())).sum()


def compute_losses(
    vectors: torch.Tensor, batch: Batch, scale: torch.Tensor, loss: settings.Loss, gather: Gather
) -> Losses:
    """Compute the terms in float32. A term of weight 0 is not computed, and is 0.

    `vectors` [b, D] and `batch` are this process's own; `gather` joins the rows of all processes, and on the way back
    adds up their gradients, as torch's differentiable gathering does. All processes then have the same losses, and the
    mean of their gradients is the gradient, which is what DistributedDataParallel computes.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        comparison = Comparison.of(vectors, batch, _limited(scale, loss.most_scale), gather)
        terms = {
            name: weight * term(name)(comparison, loss) if weight else scale.new_zeros(())
            for name, weight in loss.weights.items()
        }
        return Losses(terms, comparison.accuracy())


def term(name: str) -> Term:
    """The function of a field of `LossWeights`."""
    function: Term = import_module(f"{__name__}.{name}").loss
    return function


def _limited(scale: torch.Tensor, most: float) -> torch.Tensor:
    """Limit the scale but keep its gradient, with which it can fall below the limit again; clamp would lose it."""
    return scale - (scale - most).clamp_min(0).detach()

"""Update weights at a share of each optimiser's learning rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch

FACTOR = "factor"  # on the rate of a parameter group, 1 where a group has none


def update(optimisers: Sequence[torch.optim.Optimizer], share: float) -> None:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = optimiser.defaults["lr"] * share * group.get(FACTOR, 1.0)
        optimiser.step()

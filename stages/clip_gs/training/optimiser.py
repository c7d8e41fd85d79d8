"""How weights move: groups by depth and kind, the rate over the steps, and a running mean of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.settings import Optimiser
from stages.common.training.optimiser import FACTOR

_Placed = tuple[str, nn.Parameter, int]  # name, parameter, depth


def optimisers_of(model: ClipGs, settings: Optimiser) -> list[torch.optim.Optimizer]:
    """AdamW; or Muon for the matrices within layers and AdamW for all else."""
    within: list[_Placed] = []
    outside: list[_Placed] = []
    for name, parameter, depth in placed(model):
        inner = 0 < depth < len(model.layers()) - 1 and parameter.ndim == 2
        (within if settings.kind == "muon" and inner else outside).append((name, parameter, depth))
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(_groups(model, outside, settings), settings.rate, settings.betas, fused=True)
    ]
    if within:
        groups = _groups(model, within, settings)
        made.append(torch.optim.Muon(groups, settings.rate, settings.decay, adjust_lr_fn="match_rms_adamw"))
    return made


def placed(model: ClipGs) -> Iterator[_Placed]:
    """Every parameter with its depth, counted from the input; what belongs to no layer stands with the output."""
    layers = model.layers()
    for name, parameter in model.named_parameters():
        depths = [depth for depth, prefixes in enumerate(layers) if any(_within(name, prefix) for prefix in prefixes)]
        if len(depths) > 1:
            raise ValueError(f"{name} belongs to the layers {depths}: a parameter has one")
        yield name, parameter, depths[0] if depths else len(layers) - 1


def _within(name: str, prefix: str) -> bool:
    prefix = prefix.rstrip(".")
    return name == prefix or name.startswith(f"{prefix}.")


def _groups(model: ClipGs, entries: list[_Placed], settings: Optimiser) -> list[dict[str, Any]]:
    """One for each depth and decay. What is a vector (biases, norms, the temperature) does not decay."""
    last = len(model.layers()) - 1
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for _, parameter, depth in entries:
        decays = parameter.numel() > parameter.shape[-1] if parameter.ndim else False
        groups.setdefault((depth, decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": settings.decay if decays else 0.0,
            FACTOR: settings.layer_decay ** (last - depth),
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]


def share_at(step: int, steps: int, warm_share: float) -> float:
    """Of the rate, at a step counted from 0: it rises in a line, then falls to nothing by a cosine."""
    warm = max(1, round(warm_share * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class Average:
    """A running mean of the weights, buffers with them. Early on it forgets faster, or it would remember the start."""

    def __init__(self, model: nn.Module, keep: float):
        self.keep = keep
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def update(self, model: nn.Module, step: int) -> None:
        keep = min(self.keep, (1 + step) / (10 + step))
        present = model.state_dict()
        real = [name for name, tensor in present.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.state[name] for name in real], [present[name] for name in real], 1 - keep)
        for name in present.keys() - set(real):
            self.state[name].copy_(present[name])

    @contextmanager
    def worn(self, model: nn.Module) -> Iterator[None]:
        """The model with these weights, for as long as it takes."""
        present = model.state_dict(keep_vars=True)
        self._swap(present)
        try:
            yield
        finally:
            self._swap(present)

    def _swap(self, present: dict[str, torch.Tensor]) -> None:
        for name, tensor in present.items():
            tensor.data, self.state[name].data = self.state[name].data, tensor.data

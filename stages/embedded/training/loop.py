"""Train a model step by step; a stopped training resumes with the same results as one that was not stopped.

Everything random in a step depends on its number, so a checkpoint needs no state of random generators.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from stages.common.training.checkpoint import CheckpointError, read_checkpoint
from stages.common.training.optimiser import update
from stages.common.training.record import Record

SAVE_SECONDS = 120.0
_WARM_SHARE = 0.04  # of the steps, in which the rates rise
_LATE_SHARE = 0.5  # of the rates, at the start of the second round


class Task(Protocol):
    """What is trained: its modules, including those that are not part of the model, and the loss of a step."""

    modules: nn.Module

    def losses(self, step: int) -> dict[str, torch.Tensor]:
        """Return the weighted terms of the loss."""
        ...


@dataclass(frozen=True)
class Schedule:
    steps: int
    rate: float  # of Muon, for the layers' matrices
    other_rate: float  # of AdamW, for everything else
    decay: float = 0.05
    clip: float = 1.0
    late_steps: int = 0  # of a second round

    @property
    def all_steps(self) -> int:
        return self.steps + self.late_steps

    def share_at(self, step: int) -> float:
        """Return the share of the rates: it rises fast and falls to zero, in a second round again from _LATE_SHARE."""
        if step >= self.steps:
            return _LATE_SHARE * 0.5 * (1 + math.cos(math.pi * (step - self.steps) / self.late_steps))
        warm = max(1, round(_WARM_SHARE * self.steps))
        return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def train(
    task: Task,
    schedule: Schedule,
    folder: Path,
    report: Callable[[int, float], None],
    save_seconds: float = SAVE_SECONDS,
) -> None:
    """Train from the folder's checkpoint, or from the start. Writes checkpoint.pt and curve.jsonl.

    `report` is called after each step with the number of steps done and the loss.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizers = _optimizers(task.modules, schedule)
    path = folder / "checkpoint.pt"
    first, before = _resume(task.modules, optimizers, schedule, path) if path.exists() else (0, 0.0)
    start = time.monotonic()
    task.modules.train()
    with Record(path, first, save_seconds, tensorboard=False) as record:
        for step in range(first, schedule.all_steps):
            parts = task.losses(step)
            loss = torch.stack(list(parts.values())).sum()
            if not torch.isfinite(loss):
                raise RuntimeError(f"step {step + 1}: the loss is {float(loss)}; lower the learning rate")
            task.modules.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(task.modules.parameters(), schedule.clip)
            update(optimizers, schedule.share_at(step))
            seconds = before + time.monotonic() - start
            losses = {name: part.item() for name, part in parts.items()}
            record.add({"step": step + 1, "seconds": round(seconds, 3), **losses})
            if record.due or step + 1 == schedule.all_steps:
                states = [optimizer.state_dict() for optimizer in optimizers]
                done = {"step": step + 1, "seconds": seconds, "schedule": asdict(schedule)}
                record.save({"modules": task.modules.state_dict(), "optimizers": states, **done})
            report(step + 1, loss.item())


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 for large products: one and a half times as fast on a core that has it, and far faster on a GPU."""
    return torch.autocast(device.type, torch.bfloat16)


def _optimizers(modules: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices within layers: it needs half the steps of Adam here. Vectors and scalars do not decay."""
    trained = [(name, parameter) for name, parameter in modules.named_parameters() if parameter.requires_grad]
    inner = [parameter for name, parameter in trained if ".layers." in name and parameter.ndim == 2]
    outer = [parameter for name, parameter in trained if ".layers." not in name and parameter.ndim > 1]
    small = [parameter for _, parameter in trained if parameter.ndim <= 1]
    groups = [{"params": outer, "weight_decay": schedule.decay}, {"params": small, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(inner, schedule.rate, schedule.decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, schedule.other_rate, betas=(0.9, 0.98)),
    ]


def _resume(
    modules: nn.Module, optimizers: list[torch.optim.Optimizer], schedule: Schedule, path: Path
) -> tuple[int, float]:
    """Return the number of steps done, and the seconds that they took."""
    kept = read_checkpoint(path)
    shapes = {name: tensor.shape for name, tensor in modules.state_dict().items()}
    same = {name: tensor.shape for name, tensor in kept["modules"].items()} == shapes
    if not same or kept["schedule"] != asdict(schedule):
        what = "schedule" if same else "model"
        raise CheckpointError(f"{path}: is of another {what}; delete its folder, or pass another --folder")
    modules.load_state_dict(kept["modules"])
    for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    return kept["step"], kept["seconds"]

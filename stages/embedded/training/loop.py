"""A training run that can be stopped anywhere: the same command goes on, and the curve is the same as if it had not.

Everything random in a step follows from its number, so a checkpoint needs no state of random generators.
"""

from __future__ import annotations

import contextlib
import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

SAVE_SECONDS = 120.0
_WARM_SHARE = 0.04  # of the steps, in which the rate rises
_LATE_SHARE = 0.5  # of the rates, that the second round begins with


class CheckpointError(Exception):
    """A checkpoint that this run cannot go on from; one line says why."""


class Task(Protocol):
    """What is trained: its modules, those not saved with the model among them, and the loss of a step."""

    modules: nn.Module

    def losses(self, step: int) -> dict[str, torch.Tensor]:
        """The parts of the loss, ready to be added up."""
        ...


@dataclass(frozen=True)
class Schedule:
    steps: int
    rate: float  # of the layers' matrices, which Muon moves
    other_rate: float  # of all else, which Adam moves
    decay: float = 0.05
    clip: float = 1.0
    late_steps: int = 0  # of a second round after the steps

    @property
    def all_steps(self) -> int:
        return self.steps + self.late_steps

    def share_at(self, step: int) -> float:
        """Of the rates: it rises fast and falls slowly, to nothing; in a second round once more, from lower down."""
        if step >= self.steps:
            return _LATE_SHARE * 0.5 * (1 + math.cos(math.pi * (step - self.steps) / self.late_steps))
        warm = max(1, round(_WARM_SHARE * self.steps))
        return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def train(
    task: Task,
    schedule: Schedule,
    folder: Path,
    told: Callable[[int, float], None],
    save_seconds: float = SAVE_SECONDS,
) -> None:
    """Go on from the folder's checkpoint, or start. Leaves checkpoint.pt and curve.csv (step, seconds, the losses).

    `told` hears the steps done and the loss.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizers = _optimizers(task.modules, schedule)
    path = folder / "checkpoint.pt"
    first, before = _resume(task.modules, optimizers, schedule, path) if path.exists() else (0, 0.0)
    begun = saved = time.monotonic()
    task.modules.train()
    with Curve(folder / "curve.csv", first) as curve:
        for step in range(first, schedule.all_steps):
            parts = task.losses(step)
            loss = torch.stack(list(parts.values())).sum()
            if not torch.isfinite(loss):
                raise RuntimeError(f"step {step}: the loss is {float(loss)}; lower the rate")
            task.modules.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(task.modules.parameters(), schedule.clip)
            for optimizer in optimizers:
                _step(optimizer, schedule.share_at(step))
            now = time.monotonic()
            curve.add(step, before + now - begun, {name: part.item() for name, part in parts.items()})
            if now - saved >= save_seconds or step + 1 == schedule.all_steps:
                curve.flush()
                done = {"step": step + 1, "seconds": before + now - begun, "schedule": asdict(schedule)}
                moved = [optimizer.state_dict() for optimizer in optimizers]
                _save({"modules": task.modules.state_dict(), "optimizers": moved, **done}, path)
                saved = now
            told(step + 1, loss.item())


class Curve:
    """A line a step; on resuming, lines from the checkpoint's step on are written anew."""

    def __init__(self, path: Path, first: int):
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines[1:] if line.split(",")[0].isdigit() and int(line.split(",")[0]) < first]
        path.write_text("".join(f"{line}\n" for line in ([lines[0], *kept] if kept else [])))
        self._empty = not kept
        self._file = path.open("a", newline="")
        self._lines = csv.writer(self._file, lineterminator="\n")

    def add(self, step: int, seconds: float, losses: dict[str, float]) -> None:
        if self._empty:
            self._lines.writerow(["step", "seconds", *losses])
            self._empty = False
        self._lines.writerow([step, f"{seconds:.1f}", *(f"{loss:.6f}" for loss in losses.values())])

    def flush(self) -> None:
        self._file.flush()

    def __enter__(self) -> Curve:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def reckoning(device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 for what is large: one and a half times as fast on a core that has it, far faster on a GPU."""
    return torch.autocast(device.type, torch.bfloat16)


def _optimizers(modules: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices within layers: it needs half the steps of Adam here. Biases, norms, scales do not decay."""
    trained = [(name, parameter) for name, parameter in modules.named_parameters() if parameter.requires_grad]
    inner = [parameter for name, parameter in trained if ".layers." in name and parameter.ndim == 2]
    outer = [parameter for name, parameter in trained if ".layers." not in name and parameter.ndim > 1]
    small = [parameter for _, parameter in trained if parameter.ndim <= 1]
    groups = [{"params": outer, "weight_decay": schedule.decay}, {"params": small, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(inner, schedule.rate, schedule.decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, schedule.other_rate, betas=(0.9, 0.98)),
    ]


def _step(optimizer: torch.optim.Optimizer, share: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = optimizer.defaults["lr"] * share
    optimizer.step()


def _resume(
    modules: nn.Module, optimizers: list[torch.optim.Optimizer], schedule: Schedule, path: Path
) -> tuple[int, float]:
    """The step to go on with, and the seconds spent before."""
    kept = torch.load(path, map_location="cpu", weights_only=True)
    shapes = {name: tensor.shape for name, tensor in modules.state_dict().items()}
    same = {name: tensor.shape for name, tensor in kept["modules"].items()} == shapes
    if not same or kept["schedule"] != asdict(schedule):
        what = "schedule" if same else "model"
        raise CheckpointError(f"{path}: of another {what}; delete its folder to start anew, or name another folder")
    modules.load_state_dict(kept["modules"])
    for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    return kept["step"], kept["seconds"]


def _save(state: dict[str, Any], path: Path) -> None:
    """Whole or not at all."""
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)

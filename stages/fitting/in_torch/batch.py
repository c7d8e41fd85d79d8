"""A batch of objects that are fitted together: all their numbers are on the device, one slot [B] per object.

Smaller objects are padded with Gaussians that are not visible. A slot has its own views, backgrounds, rates and
moments, so that its result does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stages.fitting.conventions import EPSILON, FIRST_DECAY, LARGEST, SECOND_DECAY
from stages.fitting.in_torch.drawing import Rasterizer
from stages.fitting.in_torch.losses import absolute, dissimilarity
from stages.fitting.parameters import (
    COLOR,
    LOG_SCALE,
    OPACITY,
    QUATERNION,
    REST,
    count_rows,
    learning_rates,
    pack,
)
from stages.fitting.problem import FitProblem
from stages.fitting.step_schedule import LAST_RATE, StepSchedule, count_round_steps, drawing_order

_INVISIBLE, _SMALL = -30.0, -5.0  # opacity logit and log scales of padding


@dataclass
class Seat:
    """The problem in a slot, and how many steps it has taken."""

    problem: FitProblem
    schedule: StepSchedule
    steps: int = 0

    @property
    def steps_taken(self) -> int:
        return min(self.steps, self.schedule.end)


class Batch:
    """Problems with one method, and one number and size of views."""

    def __init__(self, problems: Sequence[FitProblem], rasterizer: Rasterizer, device: torch.device):
        self.rasterizer, self.device = rasterizer, device
        self.method = problems[0].method
        self.seats: list[Seat | None] = [None] * len(problems)
        views, height, width, _ = problems[0].photos.colors.shape
        self.round_steps = count_round_steps(views)
        self.rates = torch.from_numpy(learning_rates(count_rows(self.method.sh_degree))).to(device)
        slots = len(problems)

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(slots, *shape, dtype=dtype, device=device)

        self.state = {
            "parameters": zeros(self.method.gaussians, len(self.rates)),
            "first": zeros(self.method.gaussians, len(self.rates)),
            "second": zeros(self.method.gaussians, len(self.rates)),
            "images": zeros(views, height, width, 4, dtype=torch.uint8),
            "world_to_camera": zeros(views, 4, 4),
            "intrinsics": zeros(views, 3, 3),
            "order": zeros(max(self.method.steps, 1), dtype=torch.int64),
            "backgrounds": zeros(max(self.method.steps, 1), 3),
            "step": zeros(dtype=torch.int64),
            "finish_from": zeros(dtype=torch.int64),
            "end": zeros(dtype=torch.int64),
            "loss": zeros(),
        }
        for slot, problem in enumerate(problems):
            self.load(slot, problem)

    def load(self, slot: int, problem: FitProblem) -> None:
        """Put a problem into a slot, in place of the one that was there."""
        method, photos = problem.method, problem.photos
        random = np.random.default_rng(problem.seed)
        order = drawing_order(len(photos), method.steps, random)
        start = pack(problem.start, method.sh_degree).T
        padded = np.zeros(self.state["parameters"].shape[1:], np.float32)
        padded[:, LOG_SCALE:QUATERNION], padded[:, QUATERNION], padded[:, OPACITY] = _SMALL, 1, _INVISIBLE
        padded[: len(start)] = start
        given = {
            "parameters": padded,
            "images": photos.colors,
            "world_to_camera": photos.world_to_camera,
            "intrinsics": photos.intrinsics,
            "order": order,
            "backgrounds": random.random((method.steps, 3), np.float32),
        }
        for name, values in self.state.items():
            values[slot] = 0
            if name in given:
                values[slot, : len(given[name])] = torch.from_numpy(np.ascontiguousarray(given[name])).to(self.device)
        self.seats[slot] = Seat(problem, StepSchedule(method.steps, method.early_stop))

    def free(self, slot: int) -> None:
        self.seats[slot] = None

    def occupied(self) -> dict[int, Seat]:
        return {slot: seat for slot, seat in enumerate(self.seats) if seat}

    def shrink(self) -> None:
        """Remove free slots once they are half of all."""
        slots = list(self.occupied())
        if slots and len(slots) <= len(self.seats) // 2:
            kept = torch.tensor(slots, device=self.device)
            self.state = {name: values.index_select(0, kept) for name, values in self.state.items()}
            self.seats = [self.seats[slot] for slot in slots]

    def rows(self, slot: int, count: int) -> np.ndarray:
        """A copy [R, N] of the first `count` Gaussians in a slot, without its padding."""
        return self.state["parameters"][slot, :count].T.clone().cpu().numpy()

    def round(self) -> dict[int, Seat]:
        """Take the steps of a round, and return the slots that are finished or whose loss is not finite."""
        seats = self.occupied()
        for name in ("finish_from", "end"):
            values = [getattr(seat.schedule, name) if seat else 0 for seat in self.seats]
            self.state[name].copy_(torch.tensor(values))
        finishing = any(seat.steps + self.round_steps > seat.schedule.finish_from for seat in seats.values())
        self.state["loss"].zero_()
        for _ in range(self.round_steps):
            self._step(finishing and self.method.ssim_share > 0)
        losses = self.state["loss"].tolist()  # the round's one wait for the device
        for slot, seat in seats.items():
            seat.steps += self.round_steps
            if seat.steps < seat.schedule.end:
                seat.schedule.end_round(seat.steps, losses[slot])
        return {
            slot: seat
            for slot, seat in seats.items()
            if seat.steps >= seat.schedule.end or not np.isfinite(losses[slot])
        }

    def _step(self, finishing: bool) -> None:
        state, slots = self.state, torch.arange(len(self.seats), device=self.device)
        at = state["step"].clamp(max=state["order"].shape[1] - 1)
        view = state["order"][slots, at]
        pixels = state["images"][slots, view].float() / 255  # [B, H, W, 4]
        target = torch.cat([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], dim=-1)
        parameters = state["parameters"].requires_grad_()
        poses, lenses = state["world_to_camera"][slots, view][:, None], state["intrinsics"][slots, view][:, None]
        size = pixels.shape[1], pixels.shape[2]
        image = self.rasterizer.draw(parameters, poses, lenses, size, self.method.antialiased)[:, 0]
        errors = absolute(image, target, state["backgrounds"][slots, at], float(self.method.parabola))  # [B]
        loss = errors
        if finishing:
            share = self.method.ssim_share * (state["step"] >= state["finish_from"])
            loss = (1 - share) * errors + share * dissimilarity(image, target)
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        parameters.requires_grad_(False)
        with torch.no_grad():
            state["loss"] += errors
            self._adam(gradient)
            state["step"] += 1

    def _adam(self, gradient: torch.Tensor) -> None:
        """Take a step as in_numba/adam.py does, each slot with its own step; slots whose fit has ended keep still."""
        state = self.state
        first, second, step = state["first"], state["second"], (state["step"] + 1).float()
        first.lerp_(gradient, float(1 - FIRST_DECAY))
        second.mul_(float(SECOND_DECAY)).addcmul_(gradient, gradient, value=float(1 - SECOND_DECAY))
        finish_steps = (state["end"] - state["finish_from"]).clamp(min=1)
        decay = LAST_RATE ** ((step - state["finish_from"]) / finish_steps).clamp(min=0)  # [B]
        rates = self.rates * decay[:, None]  # [B, R]
        rates[:, OPACITY] = self.rates[OPACITY]
        correction = (1 - float(SECOND_DECAY) ** step).sqrt() / (1 - float(FIRST_DECAY) ** step)
        rates *= (correction * (state["step"] < state["end"]))[:, None]
        moved = second.sqrt().add_(float(EPSILON)).reciprocal_().mul_(first).mul_(rates[:, None])
        state["parameters"].sub_(moved).clamp_(-LARGEST, LARGEST)
        state["parameters"][..., COLOR:REST].clamp_(0, 1)


def bytes_of(problem: FitProblem) -> int:
    """Estimate the device memory of one slot: images, parameters with gradient and moments, and buffers of drawing."""
    views, height, width, _ = problem.photos.colors.shape
    parameters = problem.method.gaussians * count_rows(problem.method.sh_degree) * 4
    drawing = (
        height * width * 4 * 100 + problem.method.gaussians * 600
    )  # images of the loss; sorted pairs of Gaussian and tile
    return views * height * width * 4 + 8 * parameters + drawing

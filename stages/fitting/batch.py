"""Objects that are fitted in one launch: all that is stepped on lies on the device, a slot [B] an object.

Equal numbers of Gaussians are padded with ones that nothing shows. A slot's views, backgrounds, rates and moments are
its own, so that its outcome does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stages.fitting.losses import absolute, dissimilarity
from stages.fitting.optimiser import EPSILON, FIRST, SECOND
from stages.fitting.pace import LAST_RATE, Pace, drawing_order, round_of
from stages.fitting.parameters import LARGEST, learning_rates, pack
from stages.fitting.problem import FitProblem
from stages.fitting.projection import COLOR, LOG_SCALE, OPACITY, QUATERNION, REST
from stages.fitting.rasters import Raster

_UNSEEN, _SMALL = -30.0, -5.0  # opacity logit and log scales of what only fills up


@dataclass
class Seat:
    """What sits in a slot, and how far it is."""

    problem: FitProblem
    pace: Pace
    steps: int = 0

    @property
    def steps_taken(self) -> int:
        return min(self.steps, self.pace.end)


class Batch:
    def __init__(self, problems: Sequence[FitProblem], raster: Raster, device: torch.device):
        self.raster, self.device = raster, device
        self.method = problems[0].method
        self.seats: list[Seat | None] = [None] * len(problems)
        views, height, width, _ = problems[0].photos.colors.shape
        self.round_steps = round_of(views)
        self.rates = torch.from_numpy(learning_rates(len(pack(problems[0].start, self.method.sh_degree)))).to(device)
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
        """Seat a problem in a slot, whoever sat there before."""
        method, photos = problem.method, problem.photos
        random = np.random.default_rng(problem.seed)
        order = drawing_order(len(photos), method.steps, random)
        start = pack(problem.start, method.sh_degree).T
        padded = np.zeros(self.state["parameters"].shape[1:], np.float32)
        padded[:, LOG_SCALE:QUATERNION], padded[:, QUATERNION], padded[:, OPACITY] = _SMALL, 1, _UNSEEN
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
        self.seats[slot] = Seat(problem, Pace(method.steps, method.stop_early))

    def free(self, slot: int) -> None:
        self.seats[slot] = None

    def taken(self) -> list[int]:
        return [slot for slot, seat in enumerate(self.seats) if seat]

    def shrink(self) -> None:
        """Give up free slots once they are half of all."""
        slots = self.taken()
        if slots and len(slots) <= len(self.seats) // 2:
            kept = torch.tensor(slots, device=self.device)
            self.state = {name: values.index_select(0, kept) for name, values in self.state.items()}
            self.seats = [self.seats[slot] for slot in slots]

    def rows(self, slot: int) -> np.ndarray:
        """[R, N] of the Gaussians that its problem began with."""
        return self.state["parameters"][slot, : len(self.seats[slot].problem.start)].T.cpu().numpy()

    def round(self) -> list[int]:
        """Step through a round, and return the slots that are finished or have gone astray."""
        seats = {slot: self.seats[slot] for slot in self.taken()}
        for name in ("finish_from", "end"):
            told = [getattr(seat.pace, name) if seat else 0 for seat in self.seats]
            self.state[name].copy_(torch.tensor(told))
        finishing = any(seat.steps + self.round_steps > seat.pace.finish_from for seat in seats.values())
        self.state["loss"].zero_()
        for _ in range(self.round_steps):
            self._step(finishing and self.method.similarity > 0)
        losses = self.state["loss"].tolist()  # the round's one wait for the device
        for slot, seat in seats.items():
            seat.steps += self.round_steps
            if seat.steps < seat.pace.end:
                seat.pace.round_ended(seat.steps, losses[slot])
        return [slot for slot, seat in seats.items() if seat.steps >= seat.pace.end or not np.isfinite(losses[slot])]

    def _step(self, finishing: bool) -> None:
        state, slots = self.state, torch.arange(len(self.seats), device=self.device)
        at = state["step"].clamp(max=state["order"].shape[1] - 1)
        view = state["order"][slots, at]
        pixels = state["images"][slots, view].float() / 255  # [B, H, W, 4]
        wanted = torch.cat([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], dim=-1)
        parameters = state["parameters"].requires_grad_()
        cameras = state["world_to_camera"][slots, view][:, None], state["intrinsics"][slots, view][:, None]
        image = self.raster.draw(parameters, *cameras, *pixels.shape[1:3], self.method.antialiased)[:, 0]
        errors = absolute(image, wanted, state["backgrounds"][slots, at], float(self.method.parabola))  # [B]
        loss = errors
        if finishing:
            share = self.method.similarity * (state["step"] >= state["finish_from"])
            loss = (1 - share) * errors + share * dissimilarity(image, wanted)
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        parameters.requires_grad_(False)
        with torch.no_grad():
            state["loss"] += errors
            self._adam(gradient)
            state["step"] += 1

    def _adam(self, gradient: torch.Tensor) -> None:
        """As optimiser.py, each slot with its own step; one whose fit has ended stands still."""
        state = self.state
        first, second, step = state["first"], state["second"], (state["step"] + 1).float()
        first.lerp_(gradient, float(1 - FIRST))
        second.mul_(float(SECOND)).addcmul_(gradient, gradient, value=float(1 - SECOND))
        finish_steps = (state["end"] - state["finish_from"]).clamp(min=1)
        fallen = LAST_RATE ** ((step - state["finish_from"]) / finish_steps).clamp(min=0)  # [B]
        rates = self.rates * fallen[:, None]  # [B, R]
        rates[:, OPACITY] = self.rates[OPACITY]
        correction = (1 - float(SECOND) ** step).sqrt() / (1 - float(FIRST) ** step)
        rates *= (correction * (state["step"] < state["end"]))[:, None]
        moved = second.sqrt().add_(float(EPSILON)).reciprocal_().mul_(first).mul_(rates[:, None])
        state["parameters"].sub_(moved).clamp_(-LARGEST, LARGEST)
        state["parameters"][..., COLOR:REST].clamp_(0, 1)


def bytes_of(problem: FitProblem) -> int:
    """Device memory that one slot takes, about: its images, four times its parameters, and what a step draws with."""
    views, height, width, _ = problem.photos.colors.shape
    rows = len(pack(problem.start, problem.method.sh_degree))
    parameters = problem.method.gaussians * rows * 4
    drawing = height * width * 4 * 100 + problem.method.gaussians * 600  # images of the loss; pairs of tiles, sorted
    return views * height * width * 4 + 8 * parameters + drawing

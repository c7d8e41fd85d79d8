"""Join the processes that train together, and exchange tensors and objects between them.

Their number and ranks are in environment variables, which torchrun, Ray Train and `--workers` set.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from manifests.text import message


@dataclass(frozen=True)
class Ranks:
    """The rank of this process among `world` processes, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Concatenate the rows of all ranks, [B / world, ...] to [B, ...]; gradients go back to their rank."""
        return tensor if self.world == 1 else _Gather.apply(tensor, self.rank, self.world)

    def gather_objects(self, value: Any) -> list[Any]:
        """Return the value of each rank, in order; values must be picklable."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is true on any rank, so that all ranks decide the same."""
        if self.world == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]

    def shared(self, model: nn.Module) -> nn.Module:
        """Return the model to call in training: gradients are averaged over ranks, batch norms see the whole batch."""
        if self.world == 1:
            return model
        on_gpu = self.device.type == "cuda"
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model) if on_gpu else _norm_together(model)
        devices = [self.device] if on_gpu else None
        # The gradient of a convolution of width 1 has other strides than its weight; this costs nothing.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return nn.parallel.DistributedDataParallel(model, devices)


@contextmanager
def joined(device: torch.device | None = None) -> Iterator[Ranks]:
    """Connect this process with the others; without WORLD_SIZE in the environment it is alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if device is None:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    joins = world > 1 and not dist.is_initialized()  # under Ray Train they are connected already
    if joins:
        _join(rank, world, "nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, world, device)
    finally:
        if joins:
            dist.destroy_process_group()


def _join(rank: int, world: int, backend: str) -> None:
    try:
        dist.init_process_group(backend)
    except (RuntimeError, ValueError) as error:
        at = ", ".join(f"{name} {os.environ.get(name, 'is missing')}" for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise ConnectionError(
            f"process {rank} of {world} cannot reach the others ({at}): {message(error, 200)}"
        ) from error


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, rank: int, world: int) -> torch.Tensor:
        ctx.rank, ctx.rows = rank, len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(world)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Sum the gradients of all ranks' losses for this rank's rows."""
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows], None, None


class _NormTogether(nn.BatchNorm1d):
    """Batch norm over the batch of all ranks on CPUs, which torch's SyncBatchNorm does not support."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:  # [B, C] or [B, C, N]
        if not self.training:
            return super().forward(values)
        across = [axis for axis in range(values.dim()) if axis != 1]
        count = values.numel() // values.shape[1] * dist.get_world_size()
        shape = (1, -1) + (1,) * (values.dim() - 2)
        mean = _Sum.apply(values.float().sum(across)) / count  # [C]
        centred = values.float() - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(across)) / count  # [C]
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (count / (count - 1)), share)
        centred = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            centred = centred * self.weight.view(shape) + self.bias.view(shape)
        return centred.to(values.dtype)


class _Sum(torch.autograd.Function):
    """The sum over ranks; its gradient is summed over ranks too."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.apply(gradient)


def _norm_together(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = _NormTogether
    return model

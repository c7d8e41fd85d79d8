"""Define the tensors that a step of training gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians of each of B objects, none of them padding: those of an object that has fewer are repeated.

    The origin is the mean of all of an object's real Gaussians, also those not among the N; the farthest is 1 away.
    """

    means: torch.Tensor  # [B, N, 3]
    log_scales: torch.Tensor  # [B, N, 3]
    quaternions: torch.Tensor  # [B, N, 4] wxyz, length 1
    opacity_logits: torch.Tensor  # [B, N]
    colors: torch.Tensor  # [B, N, 3] in [0, 1]

    def __len__(self) -> int:
        return len(self.means)

    def each(self, change: Change) -> Gaussians:
        return Gaussians(**{field.name: change(getattr(self, field.name)) for field in fields(self)})

    def to(self, device: torch.device) -> Gaussians:
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))


@dataclass(frozen=True)
class Others:
    """E further negatives for each object of the batch: the teacher's vectors of other objects.

    The teacher does not learn, so they cost no pass through the network.
    """

    views: torch.Tensor  # [B, E, D] of one view each, length 1
    texts: torch.Tensor  # [B, E, D] of one caption each, length 1
    objects: torch.Tensor  # [B, E] int64, equal for equal content
    meanings: torch.Tensor  # [B, E] int64, equal for equal captions

    def each(self, change: Change) -> Others:
        return Others(**{field.name: change(getattr(self, field.name)) for field in fields(self)})


@dataclass(frozen=True)
class Batch:
    ids: list[str]
    gaussians: Gaussians
    views: torch.Tensor  # [B, K, D] the teacher's vectors of views, length 1
    texts: torch.Tensor  # [B, D] the teacher's vector of a caption, length 1
    objects: torch.Tensor  # [B] int64, equal for equal content
    meanings: torch.Tensor  # [B] int64, equal for equal captions
    own_meanings: torch.Tensor  # [B, C] of all captions of each object, padded with the first
    others: Others | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def each(self, change: Change) -> Batch:
        tensors = {
            name: change(getattr(self, name)) for name in ("views", "texts", "objects", "meanings", "own_meanings")
        }
        return Batch(self.ids, self.gaussians.each(change), **tensors, others=self.others and self.others.each(change))

    def to(self, device: torch.device) -> Batch:
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

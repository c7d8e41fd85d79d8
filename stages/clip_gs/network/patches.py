"""Patches of an object: g centres among its Gaussians, and the k nearest to each. No gradient runs through them."""

from __future__ import annotations

import numpy as np
import torch

from stages.common.compiled import compiled

_BYTES = 1 << 30  # for distances at a time: at most so much memory is taken whatever the batch


@torch.no_grad()
def centres(means: torch.Tensor, count: int) -> torch.Tensor:
    """[B, g] int64: the Gaussian of means [B, N, 3] that is farthest from their middle, then always the farthest from
    all before, so that the order they stand in does not matter."""
    first = (means - means.mean(1, keepdim=True)).square().sum(-1).argmax(1)
    if means.device.type == "cpu":
        return torch.from_numpy(_farthest(means.contiguous().numpy(), first.numpy(), count))
    return farthest_in_torch(means, first, count)


def farthest_in_torch(means: torch.Tensor, first: torch.Tensor, count: int) -> torch.Tensor:
    chosen = first.new_empty(len(means), count)
    distances = torch.full_like(means[..., 0], torch.inf)
    last = first
    for turn in range(count):
        chosen[:, turn] = last
        place = means.gather(1, last[:, None, None].expand(-1, 1, 3))
        distances = torch.minimum(distances, (means - place).square().sum(-1))
        last = distances.argmax(1)
    return chosen


@torch.no_grad()
def nearest(means: torch.Tensor, places: torch.Tensor, count: int, most_bytes: int = _BYTES) -> torch.Tensor:
    """[B, g, k] int64: of means [B, N, 3] those nearest to places [B, g, 3], nearest first."""
    if means.device.type == "cpu":
        return torch.from_numpy(_nearest(means.contiguous().numpy(), places.contiguous().numpy(), count))
    return nearest_in_torch(means, places, count, most_bytes)


def nearest_in_torch(means: torch.Tensor, places: torch.Tensor, count: int, most_bytes: int) -> torch.Tensor:
    """By differences, not by products: these lose the digits by which near neighbours differ."""
    batch, amount, _ = means.shape
    rows = max(1, most_bytes // (3 * amount * means.element_size()))  # distances, a difference, and room for the choice
    owners = torch.arange(batch, device=means.device).repeat_interleave(places.shape[1])
    found = []
    for owner, place in zip(owners.split(rows), places.flatten(0, 1).split(rows), strict=True):
        distances = torch.zeros(len(owner), amount, dtype=means.dtype, device=means.device)
        for axis in range(3):
            difference = means[owner, :, axis] - place[:, axis, None]
            distances.addcmul_(difference, difference)
        found.append(distances.topk(count, largest=False).indices)
    return torch.cat(found).unflatten(0, (batch, -1))


@compiled
def _farthest(means: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
    """[B, g] of means [B, N, 3], beginning with first [B]."""
    batch, amount, _ = means.shape
    chosen = np.empty((batch, count), np.int64)
    distances = np.empty(amount, np.float32)
    for b in range(batch):
        distances[:] = np.inf
        last = first[b]
        for turn in range(count):
            chosen[b, turn] = last
            x, y, z = means[b, last, 0], means[b, last, 1], means[b, last, 2]
            for i in range(amount):
                away = (means[b, i, 0] - x) ** 2 + (means[b, i, 1] - y) ** 2 + (means[b, i, 2] - z) ** 2
                distances[i] = min(distances[i], away)
            last = np.argmax(distances)
    return chosen


@compiled
def _nearest(means: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
    """[B, g, k] of means [B, N, 3] and places [B, g, 3]. Of equals the first comes first."""
    batch, amount, _ = means.shape
    patches = places.shape[1]
    found = np.empty((batch, patches, count), np.int64)
    distances = np.empty(amount, np.float32)
    best = np.empty(count, np.float32)
    for b in range(batch):
        for g in range(patches):
            x, y, z = places[b, g, 0], places[b, g, 1], places[b, g, 2]
            for i in range(amount):
                distances[i] = (means[b, i, 0] - x) ** 2 + (means[b, i, 1] - y) ** 2 + (means[b, i, 2] - z) ** 2
            members = found[b, g]
            held = 0
            for i in range(amount):
                if held == count and distances[i] >= best[count - 1]:
                    continue
                if held < count:
                    held += 1
                place = held - 1
                while place > 0 and best[place - 1] > distances[i]:
                    best[place] = best[place - 1]
                    members[place] = members[place - 1]
                    place -= 1
                best[place] = distances[i]
                members[place] = i
    return found

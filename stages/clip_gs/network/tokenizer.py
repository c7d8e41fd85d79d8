"""A token of each patch. Patches are [P, k, C] throughout, channels last, which is what convolutions are fastest on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from stages.clip_gs.network.attributes import COUNT, POINT
from stages.clip_gs.network.serialisation import serialise
from stages.clip_gs.settings import Model

_STRIDES = (1, 1, 2, 2)
# Numbers in a tensor: with more, GPU kernels of norms and convolutions fall back to slow ones. Then patches go through
# in equal parts, and while training each part is normalised by itself.
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Widths:
    """Channels of the two encoders."""

    points: tuple[int, int, int, int]
    serial: tuple[int, int, int, int]


class Tokenizer(nn.Module):
    """Tokens [B, g, D] of patches [B, g, k, 19]; positions are about the patch's centre."""

    def __init__(self, settings: Model, widths: Widths, width: int):
        super().__init__()
        self.orders = settings.orders if settings.tokens == "gaussians" else ()
        self.seen = COUNT if settings.tokens == "attributes" else POINT
        self.encoder = PointEncoder(self.seen, widths.points)
        self.encoder2trans = nn.Linear(widths.points[-1], width)
        if settings.tokens != "points":
            # Scales vary within a patch a thousandth of what turns do. Their spread is the mean of all steps so far.
            self.norm = nn.BatchNorm1d(COUNT, momentum=None, affine=False)
        self.widest = max(*widths.points, len(self.orders) * max(COUNT, widths.serial[0], widths.serial[1]))
        if self.orders:
            self.serial = SerialEncoder(widths.serial)
            self.serial2trans = nn.Linear(widths.serial[-1], width)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        flat = patches.flatten(0, 1)  # [P, k, 19]
        parts = -(-len(flat) * patches.shape[2] * self.widest // _MOST)
        return torch.cat([self._tokens(part) for part in flat.tensor_split(parts)]).unflatten(0, patches.shape[:2])

    def _tokens(self, patches: torch.Tensor) -> torch.Tensor:  # [P, D] of [P, k, 19]
        if self.seen == COUNT:
            return self.encoder2trans(self.encoder(self._alike(patches)))
        tokens = self.encoder2trans(self.encoder(patches[..., :POINT].contiguous()))
        if self.orders:
            rows = self.serial2trans(self.serial(self._ordered(patches)))  # [O P, D]
            tokens = tokens + rows.unflatten(0, (-1, len(patches))).mean(0)
        return tokens

    def _alike(self, patches: torch.Tensor) -> torch.Tensor:
        """[P, k, 19], each number of one spread: else what spreads widely is all that a short training sees."""
        return self.norm(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])

    @torch.compiler.disable
    @torch.no_grad()
    def _ordered(self, patches: torch.Tensor) -> torch.Tensor:  # [O P, k, 19]
        """All orders in one batch, so that normalisation sees them alike."""
        members = torch.cat([serialise(patches[..., :3], curve) for curve in self.orders])  # [O P, k]
        starts = torch.arange(len(patches), device=patches.device).repeat(len(self.orders)) * patches.shape[1]
        return self._alike(patches).flatten(0, 1)[members + starts[:, None]]


class PointEncoder(nn.Module):
    """Uni3D's small PointNet under its names: each point, the patch's largest, each point beside it, the largest."""

    def __init__(self, seen: int, widths: tuple[int, int, int, int]):
        super().__init__()
        first, local, second, out = widths
        self.first_conv = _point_layers(seen, first, local)
        self.second_conv = _point_layers(2 * local, second, out)

    def forward(self, points: torch.Tensor) -> torch.Tensor:  # [P, C] of [P, k, seen]
        local_first, local_norm, local_last = _parts(self.first_conv)
        local = _convolved(_through(local_first, local_norm, points), local_last.weight, local_last.bias)
        # Uni3D puts the patch's largest before each point. What its half of the weights makes of it is the same for
        # all points of the patch: it is made once and added.
        joined, norm, last = _parts(self.second_conv)
        shared, own = joined.weight.split(local.shape[-1], dim=1)
        hidden = _convolved(local, own)
        hidden = hidden + F.linear(_largest(local), shared.squeeze(-1), joined.bias).unsqueeze(1)
        return _largest(_convolved(_normed(norm, hidden), last.weight, last.bias))


class SerialEncoder(nn.Module):
    """Convolutions along the row that a patch's Gaussians stand in, and the largest of what comes out."""

    def __init__(self, widths: tuple[int, int, int, int]):
        super().__init__()
        pairs = list(zip((COUNT, *widths), widths, _STRIDES, strict=False))
        self.convs = nn.ModuleList(nn.Conv1d(i, o, 3, stride, padding=1, bias=False) for i, o, stride in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)

    def forward(self, row: torch.Tensor) -> torch.Tensor:  # [P, C] of [P, k, 19]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            row = _through(conv, norm, row)
        return _largest(row)


def _point_layers(into: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(into, hidden, 1), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Conv1d(hidden, out, 1))


def _parts(layers: nn.Sequential) -> tuple[nn.Conv1d, nn.Module, nn.Conv1d]:
    """The modules of `_point_layers` that have weights; the norm may have become a SyncBatchNorm."""
    first, norm, _, last = layers
    assert isinstance(first, nn.Conv1d) and isinstance(last, nn.Conv1d)
    return first, norm, last


def _through(conv: nn.Module, norm: nn.Module, row: torch.Tensor) -> torch.Tensor:
    assert isinstance(conv, nn.Conv1d)
    return _normed(norm, _convolved(row, conv.weight, conv.bias, conv.stride[0], conv.kernel_size[0] // 2))


def _convolved(
    row: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, stride: int = 1, padding: int = 0
) -> torch.Tensor:
    """[P, k', C'] of [P, k, C]. As pictures of one row: conv1d would turn channels first and back."""
    picture = row.transpose(1, 2).unsqueeze(2)
    return F.conv2d(picture, weight.unsqueeze(2), bias, (1, stride), (0, padding)).squeeze(2).transpose(1, 2)


def _normed(norm: nn.Module, row: torch.Tensor) -> torch.Tensor:
    return F.relu(norm(row.flatten(0, 1)), inplace=True).unflatten(0, row.shape[:2])


def _largest(row: torch.Tensor) -> torch.Tensor:  # [P, C] of [P, k, C]
    if row.device.type == "cpu":  # where max over a middle axis is not vectorised: 4 times slower, there and back
        return F.max_pool2d(row.transpose(1, 2).unsqueeze(2), (1, row.shape[1])).flatten(1)
    return row.max(dim=1).values

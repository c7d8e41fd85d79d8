"""Blocks as EVA-02 has them, without rotary positions, under timm's names so that Uni3D's weights fit in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from stages.clip_gs.network.tokenizer import Widths


@dataclass(frozen=True)
class Size:
    width: int
    depth: int
    heads: int
    hidden: int
    split: bool
    """Queries, keys and values by matrices of their own, gate and value of the MLP too, and a norm within the MLP."""
    widths: Widths


_UNI3D = Widths(points=(128, 256, 512, 512), serial=(64, 64, 128, 256))

SIZES = {
    "mini": Size(256, 4, 4, 512, False, Widths(points=(32, 64, 64, 128), serial=(16, 32, 32, 64))),
    "tiny": Size(192, 12, 3, 512, False, _UNI3D),
    "small": Size(384, 12, 6, 1024, False, _UNI3D),
    "base": Size(768, 12, 12, 2048, True, _UNI3D),
    "large": Size(1024, 24, 16, 2730, True, _UNI3D),
}


class Norm(nn.LayerNorm):
    """In the precision of what it is given: autocast would make a copy in float32, and keep it for the way back."""

    def __init__(self, width: int):
        super().__init__(width, eps=1e-6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
            weight, bias = self.weight.to(tokens.dtype), self.bias.to(tokens.dtype)
            return F.layer_norm(tokens, self.normalized_shape, weight, bias, self.eps)


class Block(nn.Module):
    def __init__(self, size: Size, drop_path: float):
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = Norm(size.width)
        self.attn: SplitAttention | FusedAttention = SplitAttention(size) if size.split else FusedAttention(size)
        self.norm2 = Norm(size.width)
        self.mlp: SplitGate | PackedGate = SplitGate(size) if size.split else PackedGate(size)

    def forward(self, tokens: torch.Tensor, asking: int) -> torch.Tensor:
        """[B, asking, D] of tokens [B, T, D]: only the first ones ask, and only they come out."""
        kept = tokens[:, :asking]
        kept = kept + self._dropped(self.attn(self.norm1(tokens), asking))
        return kept + self._dropped(self.mlp(self.norm2(kept)))

    def _dropped(self, change: torch.Tensor) -> torch.Tensor:
        if not self.training or self.drop_path == 0:
            return change
        keep = 1 - self.drop_path
        return change * (change.new_empty(len(change), 1, 1).bernoulli_(keep) / keep)


class FusedAttention(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.width, 3 * size.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(size.width))
        self.v_bias = nn.Parameter(torch.zeros(size.width))
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, tokens: torch.Tensor, asking: int) -> torch.Tensor:
        width = tokens.shape[-1]
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        if asking == tokens.shape[1]:
            queries, keys, values = F.linear(tokens, self.qkv.weight, bias).chunk(3, dim=-1)
        else:
            queries = F.linear(tokens[:, :asking], self.qkv.weight[:width], self.q_bias)
            keys, values = F.linear(tokens, self.qkv.weight[width:], bias[width:]).chunk(2, dim=-1)
        return self.proj(attended(queries, keys, values, self.heads))


class SplitAttention(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.heads = size.heads
        self.q_proj = nn.Linear(size.width, size.width)
        self.k_proj = nn.Linear(size.width, size.width, bias=False)
        self.v_proj = nn.Linear(size.width, size.width)
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, tokens: torch.Tensor, asking: int) -> torch.Tensor:
        queries = self.q_proj(tokens[:, :asking])
        return self.proj(attended(queries, self.k_proj(tokens), self.v_proj(tokens), self.heads))


def attended(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, Q, D] of queries [B, Q, D], keys and values [B, T, D]."""
    q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (queries, keys, values))
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:  # the fused form is 2 to 5 times slower there
        shares = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return (shares.to(v.dtype) @ v).transpose(1, 2).flatten(2)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class PackedGate(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.fc1 = nn.Linear(size.width, 2 * size.hidden)
        self.fc2 = nn.Linear(size.hidden, size.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        gate, value = self.fc1(tokens).chunk(2, dim=-1)
        return self.fc2(F.silu(gate) * value)


class SplitGate(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.fc1_g = nn.Linear(size.width, size.hidden)
        self.fc1_x = nn.Linear(size.width, size.hidden)
        self.norm = Norm(size.hidden)
        self.fc2 = nn.Linear(size.hidden, size.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.norm(F.silu(self.fc1_g(tokens)) * self.fc1_x(tokens)))

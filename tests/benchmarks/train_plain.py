"""The step that people write: the same network with the same weights, each part in the way that comes first to mind.

Centres by a loop over farthest points, neighbours by a matrix of distances, both in torch on each batch; the patch's
largest put beside every point; one pass an order; attention written out in float32; every token through every block.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from stages.clip_gs.batch import Gaussians
from stages.clip_gs.network.attributes import attributes
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.serialisation import serialise
from stages.clip_gs.network.transformer import Block


class PlainClipGs(nn.Module):
    """Around a model whose centres are the first Gaussians, which is where farthest points of their order are."""

    def __init__(self, model: ClipGs):
        super().__init__()
        self.model = model
        self.logit_scale = model.logit_scale

    def forward(self, gaussians: Gaussians) -> torch.Tensor:
        model, settings = self.model, self.model.settings
        places = gathered(gaussians.means, farthest(gaussians.means, settings.patches).unsqueeze(-1)).squeeze(2)
        members = square_distances(places, gaussians.means).topk(settings.neighbours, largest=False).indices
        patches = gathered(attributes(gaussians), members)  # [B, g, k, 19]
        patches = torch.cat([patches[..., :3] - places.unsqueeze(2), patches[..., 3:]], dim=-1)
        tokens = self._tokens(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        first, first_place = (each.expand(len(tokens), -1, -1) for each in (model.cls_token, model.cls_pos))
        tokens = torch.cat([first, tokens], dim=1) + torch.cat([first_place, model.pos_embed(places)], dim=1)
        for block in model.blocks:
            tokens = tokens + attention(block, block.norm1(tokens))
            tokens = tokens + block.mlp(block.norm2(tokens))
        return F.normalize(model.trans2embed(model.fc_norm(tokens)[:, 0]).float(), dim=-1)

    def _tokens(self, patches: torch.Tensor) -> torch.Tensor:  # [P, D] of [P, k, 19]
        tokenizer = self.model.tokenizer
        alike = tokenizer.norm(patches.transpose(1, 2)).transpose(1, 2) if hasattr(tokenizer, "norm") else patches
        seen = patches[..., : tokenizer.seen] if tokenizer.orders else alike[..., : tokenizer.seen]
        local = tokenizer.encoder.first_conv(seen.transpose(1, 2))  # [P, C, k]
        shared = local.max(dim=2, keepdim=True).values.expand_as(local)
        tokens = tokenizer.encoder2trans(
            tokenizer.encoder.second_conv(torch.cat([shared, local], dim=1)).max(dim=2).values
        )
        passes = [tokenizer.serial2trans(self._row(patches, alike, curve)) for curve in tokenizer.orders]
        return tokens + torch.stack(passes).mean(0) if passes else tokens

    def _row(self, patches: torch.Tensor, alike: torch.Tensor, curve: str) -> torch.Tensor:  # [P, C]
        row = alike.gather(1, serialise(patches[..., :3], curve).unsqueeze(-1).expand_as(patches)).transpose(1, 2)
        for conv, norm in zip(self.model.tokenizer.serial.convs, self.model.tokenizer.serial.norms, strict=True):
            row = F.relu(norm(conv(row)))
        return row.max(dim=2).values


def farthest(means: torch.Tensor, count: int) -> torch.Tensor:  # [B, g]
    chosen = torch.zeros(len(means), count, dtype=torch.int64, device=means.device)
    distances = torch.full(means.shape[:2], 1e10, device=means.device)
    last = torch.zeros(len(means), dtype=torch.int64, device=means.device)
    rows = torch.arange(len(means), device=means.device)
    for turn in range(count):
        chosen[:, turn] = last
        distances = torch.minimum(distances, ((means - means[rows, last].unsqueeze(1)) ** 2).sum(-1))
        last = distances.argmax(-1)
    return chosen


def square_distances(places: torch.Tensor, means: torch.Tensor) -> torch.Tensor:  # [B, g, N]
    with torch.autocast(means.device.type, enabled=False):
        products = places @ means.transpose(1, 2)
    return (places**2).sum(-1).unsqueeze(2) + (means**2).sum(-1).unsqueeze(1) - 2 * products


def gathered(values: torch.Tensor, members: torch.Tensor) -> torch.Tensor:  # [B, g, k, C] of [B, N, C], [B, g, k]
    return values[torch.arange(len(values), device=values.device)[:, None, None], members]


def attention(block: Block, tokens: torch.Tensor) -> torch.Tensor:  # [B, T, D]
    attn = block.attn
    if hasattr(attn, "qkv"):
        bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
        triple = F.linear(tokens, attn.qkv.weight, bias).chunk(3, dim=-1)
    else:
        triple = attn.q_proj(tokens), attn.k_proj(tokens), attn.v_proj(tokens)
    with torch.autocast(tokens.device.type, enabled=False):
        q, k, v = (each.float().unflatten(-1, (attn.heads, -1)).transpose(1, 2) for each in triple)
        shares = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
        found = (shares @ v).transpose(1, 2).flatten(2)
    return attn.proj(found)

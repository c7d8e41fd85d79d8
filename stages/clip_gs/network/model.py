"""CLIP-GS: Gaussians of objects to vectors in their teacher's space."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from stages.clip_gs.batch import Gaussians
from stages.clip_gs.network.attributes import attributes
from stages.clip_gs.network.patches import centres, nearest
from stages.clip_gs.network.tokenizer import Tokenizer
from stages.clip_gs.network.transformer import SIZES, Block, Norm
from stages.clip_gs.settings import Model


class ClipGs(nn.Module):
    """Vectors [B, D] of length 1. `logit_scale` is the natural logarithm of what likenesses are multiplied by."""

    def __init__(self, settings: Model, dimension: int, start_scale: float = 1 / 0.07):
        super().__init__()
        self.settings, self.dimension = settings, dimension
        size = SIZES[settings.size]
        rates = [settings.drop_path * depth / max(1, size.depth - 1) for depth in range(size.depth)]
        self.logit_scale = nn.Parameter(torch.tensor(math.log(start_scale)))
        self.tokenizer = Tokenizer(settings, size.widths, size.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, size.width))
        self.blocks = nn.ModuleList(Block(size, rate) for rate in rates)
        self.fc_norm = Norm(size.width)
        self.trans2embed = nn.Linear(size.width, dimension)
        self._start()

    def forward(self, gaussians: Gaussians) -> torch.Tensor:
        places, patches = self.taken_apart(gaussians)
        return self.put_together(self.tokenizer(patches), places)

    def put_together(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Vectors [B, D] of tokens [B, g, D'] of patches at places [B, g, 3]."""
        tokens = (tokens + self.pos_embed(places)).float()  # blocks add to it in full precision
        first = (self.cls_token + self.cls_pos).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1)  # [B, 1 + g, D]
        for depth, block in enumerate(self.blocks, start=1):
            # Of the last block only the first token is looked at.
            tokens = block(tokens, asking=1 if depth == len(self.blocks) else tokens.shape[1])
        vectors = self.trans2embed(self.fc_norm(tokens[:, 0]))
        return F.normalize(vectors.float(), dim=-1)

    @torch.compiler.disable
    @torch.no_grad()
    def taken_apart(self, gaussians: Gaussians) -> tuple[torch.Tensor, torch.Tensor]:
        """Centres [B, g, 3] and patches [B, g, k, 19], whose positions are about their centre."""
        means, count = gaussians.means, self.settings.patches
        if self.settings.centres == "stored":
            places = means[:, :count]
        else:
            places = means.gather(1, centres(means, count).unsqueeze(-1).expand(-1, -1, 3))
        members = nearest(means, places, self.settings.neighbours)  # [B, g, k]
        starts = torch.arange(len(means), device=means.device)[:, None, None] * means.shape[1]
        patches = attributes(gaussians).flatten(0, 1)[members + starts]
        patches[..., :3] -= places.unsqueeze(2)
        return places, patches

    def layers(self) -> list[list[str]]:
        """Beginnings of the names of parameters, from the input to the output: for rates that fall with depth."""
        before = ["tokenizer.encoder.", "tokenizer.encoder2trans.", "pos_embed.", "cls_token", "cls_pos"]
        blocks = [[f"blocks.{depth}."] for depth in range(len(self.blocks))]
        # The serial branch is new where all else comes from Uni3D: it learns as fast as the output.
        return [
            before,
            *blocks,
            ["fc_norm.", "trans2embed.", "logit_scale", "tokenizer.serial.", "tokenizer.serial2trans."],
        ]

    def _start(self) -> None:
        """Matrices small, biases nothing; what ends a branch the smaller, the more blocks came before (as EVA does)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for token in (self.cls_token, self.cls_pos):
            nn.init.trunc_normal_(token, std=0.02)
        with torch.no_grad():
            for depth, block in enumerate(self.blocks, start=1):
                assert isinstance(block, Block)
                for last in (block.attn.proj, block.mlp.fc2):
                    last.weight /= math.sqrt(2 * depth)

"""The mini CLIP: what it is, and how it is taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stages.corpus import captions
from stages.corpus.categories import CATEGORIES
from stages.corpus.colors import COLORS
from stages.corpus.paint import PATTERNS
from stages.embedded.training import meaning, tokens
from stages.embedded.training.loop import autocast
from stages.embedded.training.pictures import SIDE, Library

MEAN = DEVIATION = 0.5
_ACTIVATION = "gelu"  # one fused kernel; CLIP's own is three
_MOST_SCALE = 100.0
_MATERIALS = ("wooden", "metal", "stone")  # those that show
_WEIGHT = 0.3  # of reading a trait, beside the contrast
_WEIGHTS = {"category": 1.0, "pattern": 0.6}  # of those that are seen late
_TRAITS = {
    "category": tuple(category.name for category in CATEGORIES), "color": COLORS, "second_color": COLORS,
    "pattern": PATTERNS, "material": _MATERIALS,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    patch: int = 16
    width: int = 192
    depth: int = 5
    heads: int = 3
    text_width: int = 128
    text_depth: int = 3
    text_heads: int = 2
    dimension: int = 128
    side: int = SIDE


def new_model(shape: Shape, tokenizer: Any) -> Any:
    """Attention is written out: on a CPU the fused kernel's way back takes twice as long for pictures this small."""
    from transformers import CLIPConfig, CLIPModel

    vision = {
        "hidden_size": shape.width, "intermediate_size": 4 * shape.width, "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads, "image_size": shape.side, "patch_size": shape.patch,
        "hidden_act": _ACTIVATION,
    }  # fmt: skip
    text = {
        "hidden_size": shape.text_width, "intermediate_size": 4 * shape.text_width,
        "num_hidden_layers": shape.text_depth, "num_attention_heads": shape.text_heads, "hidden_act": _ACTIVATION,
        "vocab_size": len(tokenizer), "max_position_embeddings": tokens.CONTEXT, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=shape.dimension)
    return CLIPModel._from_config(config, attn_implementation="eager")


class ClipTask:
    """Each step shows one picture of each of some objects beside one text of each.

    A text is right for all objects that it means the same for, and is left out for those that it happens to be true of.
    Beside that, linear heads read the true traits off the picture's vector. They are not part of the model: they make
    it see what texts name much earlier than texts alone would.
    """

    def __init__(self, shape: Shape, library: Library, tokenizer: Any, batch: int, seed: int, device: str = "cpu"):
        torch.manual_seed(seed)
        self.device = torch.device(device)
        self.model = new_model(shape, tokenizer)
        self.heads = nn.ModuleDict({name: nn.Linear(shape.width, len(values)) for name, values in _TRAITS.items()})
        self.modules = nn.ModuleDict({"model": self.model, "heads": self.heads}).to(self.device)
        self._library, self._tokenizer, self._batch, self._seed = library, tokenizer, batch, seed
        self._truths = [meaning.truth(row) for row in library.rows]
        self._traits = {
            name: torch.tensor([values.index(row[name]) if row[name] in values else -1 for row in library.rows])
            for name, values in _TRAITS.items()
        }

    def losses(self, step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self._seed, step])
        chosen = objects_of(step, len(self._library), self._batch, self._seed)
        views = rng.integers(self._library.views, size=len(chosen))
        pixels = normalised(self._library.pictures(chosen, views), self.device, rng)
        texts = [_text(self._library.rows[number], rng) for number in chosen]
        numbers = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
        with autocast(self.device):
            seen = self.model.vision_model(pixel_values=pixels).pooler_output
            read = self.model.text_model(**numbers).pooler_output
            pictures, words = self.model.visual_projection(seen), self.model.text_projection(read)
            traits = {name: head(seen) for name, head in self.heads.items()}
        right, wrong = verdicts(texts, [self._truths[number] for number in chosen])
        scale = self.model.logit_scale.exp().clamp(max=_MOST_SCALE)
        likeness = scale * functional.normalize(pictures.float()) @ functional.normalize(words.float()).T
        right, wrong = right.to(self.device), wrong.to(self.device)
        parts = {"contrast": (_contrast(likeness, right, wrong) + _contrast(likeness.T, right.T, wrong.T)) / 2}
        for name, logits in traits.items():
            known = self._traits[name][chosen].to(self.device)
            loss = functional.cross_entropy(logits.float(), known, ignore_index=-1, reduction="sum")
            parts[name] = _WEIGHTS.get(name, _WEIGHT) * loss / len(chosen)
        return parts


def normalised(pictures: np.ndarray, device: torch.device, rng: np.random.Generator | None = None) -> torch.Tensor:
    """[n, 3, S, S] float32, as the processor makes them; for training each mirrored or not, and moved a little."""
    pixels = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    if rng is not None:
        mirrored = torch.from_numpy(rng.random(len(pictures)) < 0.5).to(device)
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
        down, right = (int(step) for step in rng.integers(-5, 6, size=2))
        pixels = functional.pad(pixels, (5, 5, 5, 5), value=255)
        side = pictures.shape[1]
        pixels = pixels[:, :, 5 + down : 5 + down + side, 5 + right : 5 + right + side]
    return (pixels.float() / 255 - MEAN) / DEVIATION


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """In half precision, which loses nothing that shows; whoever loads it says in what it reckons."""
    import copy

    from transformers import CLIPProcessor

    copy.deepcopy(model).half().save_pretrained(folder)
    CLIPProcessor(image_processor(model.config.vision_config.image_size), tokenizer).save_pretrained(folder)


def image_processor(side: int) -> Any:
    """For machines with torchvision and without."""
    import transformers
    from transformers.utils import is_torchvision_available

    kind = getattr(transformers, "CLIPImageProcessor" + ("" if is_torchvision_available() else "Pil"))
    return kind(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side},
        image_mean=[MEAN] * 3, image_std=[DEVIATION] * 3,
    )  # fmt: skip


def objects_of(step: int, count: int, batch: int, seed: int) -> np.ndarray:
    """Objects in an order that is new in each round, each once a round."""
    a_round = max(1, count // batch)
    number, place = divmod(step, a_round)
    order = np.random.default_rng([seed, 1, number]).permutation(count)
    return order[place * batch : (place + 1) * batch]


def _text(row: dict[str, Any], rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.62:
        return captions.phrase(row, rng)
    if kind < 0.76:
        return captions.description(row, rng)
    return captions.tags(row, rng) if kind < 0.86 else captions.mention(row, rng)


def verdicts(texts: list[str], truths: list[frozenset[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """[objects, texts] bool: the text means what the object's own text does and is true; it is not true"""
    said = [meaning.said(text) for text in texts]
    true = torch.from_numpy(meaning.agreement(said, truths))
    numbers = {words: number for number, words in enumerate(dict.fromkeys(said))}
    meant = torch.tensor([numbers[words] for words in said])
    own = torch.eye(len(texts), dtype=torch.bool)
    return own | (true & (meant[:, None] == meant[None, :])), ~(true | own)


def _contrast(likeness: torch.Tensor, right: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each row against those that are wrong, on the mean over those that are right."""
    likeness = likeness.masked_fill(~(right | wrong), float("-inf"))
    log_shares = likeness.log_softmax(dim=1).masked_fill(~right, 0.0)
    return -(log_shares.sum(1) / right.sum(1)).mean()

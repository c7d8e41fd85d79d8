"""Build and train the mini CLIP."""

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
_ACTIVATION = "gelu"  # one fused kernel; CLIP's own activation takes three
_MOST_SCALE = 100.0
_MATERIALS = ("wooden", "metal", "stone")  # those that can be seen
_WEIGHT = 0.3  # of the loss of a trait, relative to the contrastive loss
_WEIGHTS = {"category": 1.0, "pattern": 0.6}  # of traits that are learnt late
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
    """Make a CLIP. Attention is not fused: on a CPU the fused backward takes twice as long for such small pictures."""
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

    A text is right for all objects whose own text means the same, and is masked for others that it happens to be true
    of. Also, linear heads predict the true traits from the picture's vector. They are not part of the model: with them
    it learns what texts name much sooner than from texts alone.
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
            of_pictures = self.model.vision_model(pixel_values=pixels).pooler_output
            of_texts = self.model.text_model(**numbers).pooler_output
            pictures, words = self.model.visual_projection(of_pictures), self.model.text_projection(of_texts)
            traits = {name: head(of_pictures) for name, head in self.heads.items()}
        right, wrong = verdicts(texts, [self._truths[number] for number in chosen])
        scale = self.model.logit_scale.exp().clamp(max=_MOST_SCALE)
        similarity = scale * functional.normalize(pictures.float()) @ functional.normalize(words.float()).T
        right, wrong = right.to(self.device), wrong.to(self.device)
        parts = {"contrast": (_contrast(similarity, right, wrong) + _contrast(similarity.T, right.T, wrong.T)) / 2}
        for name, logits in traits.items():
            known = self._traits[name][chosen].to(self.device)
            loss = functional.cross_entropy(logits.float(), known, ignore_index=-1, reduction="sum")
            parts[name] = _WEIGHTS.get(name, _WEIGHT) * loss / len(chosen)
        return parts


def normalised(pictures: np.ndarray, device: torch.device, rng: np.random.Generator | None = None) -> torch.Tensor:
    """[n, 3, S, S] float32, as from the processor; with `rng`, for training, mirrored at random and shifted."""
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
    """Save in half precision, which costs no accuracy; the caller chooses the precision when it loads the model."""
    import copy

    from transformers import CLIPProcessor

    copy.deepcopy(model).half().save_pretrained(folder)
    CLIPProcessor(image_processor(model.config.vision_config.image_size), tokenizer).save_pretrained(folder)


def image_processor(side: int) -> Any:
    """Return an image processor for machines with torchvision or without."""
    import transformers
    from transformers.utils import is_torchvision_available

    kind = getattr(transformers, "CLIPImageProcessor" + ("" if is_torchvision_available() else "Pil"))
    return kind(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side},
        image_mean=[MEAN] * 3, image_std=[DEVIATION] * 3,
    )  # fmt: skip


def objects_of(step: int, count: int, batch: int, seed: int) -> np.ndarray:
    """Return the objects of a step: in each epoch every object once, in a new order."""
    steps_per_epoch = max(1, count // batch)
    epoch, index = divmod(step, steps_per_epoch)
    order = np.random.default_rng([seed, 1, epoch]).permutation(count)
    return order[index * batch : (index + 1) * batch]


def _text(row: dict[str, Any], rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.62:
        return captions.phrase(row, rng)
    if kind < 0.76:
        return captions.description(row, rng)
    return captions.tags(row, rng) if kind < 0.86 else captions.mention(row, rng)


def verdicts(texts: list[str], truths: list[frozenset[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """[objects, texts] bool each: the text is true and means what the object's own text does; the text is not true."""
    facts = [meaning.facts(text) for text in texts]
    true = torch.from_numpy(meaning.agreement(facts, truths))
    numbers = {words: number for number, words in enumerate(dict.fromkeys(facts))}
    meant = torch.tensor([numbers[words] for words in facts])
    own = torch.eye(len(texts), dtype=torch.bool)
    return own | (true & (meant[:, None] == meant[None, :])), ~(true | own)


def _contrast(similarity: torch.Tensor, right: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each row against its wrong items, as the mean over its right ones."""
    similarity = similarity.masked_fill(~(right | wrong), float("-inf"))
    log_shares = similarity.log_softmax(dim=1).masked_fill(~right, 0.0)
    return -(log_shares.sum(1) / right.sum(1)).mean()

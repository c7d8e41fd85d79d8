"""Build and train the mini captioner: LLaVA with the mini CLIP's image encoder and a small Llama decoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stages.captioning.prompts import Prompts, hint_of
from stages.corpus import captions
from stages.embedded.training import clip, tokens
from stages.embedded.training.loop import autocast
from stages.embedded.training.pictures import Library

_IGNORED = -100
_VIEWS = (1, 1, 2, 2, 3, 4, 6)  # a step draws its number of views from these: fewer are cheaper
BRIEF = {"short": "Name it in one phrase.", "detailed": "Describe it.", "tags": "List tags."}
_WRITERS = {"short": captions.phrase, "detailed": captions.description, "tags": captions.tags}
_SHARES = {"short": 0.5, "detailed": 0.3, "tags": 0.2}
_BRIEF_SHARE, _HINT_SHARE = 0.5, 0.1
# Patterns are learnt last, and few words name them: in a second round these count for more.
_PATTERN_WORDS = "striped stripes checked checks dotted dots zigzag zigzags gridded grid lines".split()
_LATE_WEIGHT = 3.0

_TEXT = "{% if part['type'] == 'image' %}" + tokens.IMAGE + "{% else %}{{ part['text'] }}{% endif %}"
_CONTENT = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}" + _TEXT + "{% endfor %}{% endif %}"
)
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    + tokens.ANSWER + _CONTENT + tokens.END + "{% else %}" + tokens.START + _CONTENT
    + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + tokens.ANSWER + "{% endif %}"
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    width: int = 192
    depth: int = 4
    heads: int = 3
    inner: int = 512


def new_model(shape: Shape, clip_model: Any, tokenizer: Any, seed: int) -> Any:
    """Make a captioner with a CLIP's image encoder, without its last layer, which serves only what CLIP pools."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = clip_model.config.vision_config.to_dict()
    vision["num_hidden_layers"] -= 1
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=shape.width, intermediate_size=shape.inner,
        num_hidden_layers=shape.depth, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=tokens.CAPTIONER_CONTEXT, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision), text_config=text, tie_word_embeddings=True,
        image_token_index=tokenizer.convert_tokens_to_ids(tokens.IMAGE), vision_feature_layer=-1,
        vision_feature_select_strategy="default", image_seq_length=(vision["image_size"] // vision["patch_size"]) ** 2,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager")
    weights = {name.removeprefix("vision_model."): tensor for name, tensor in clip_model.state_dict().items()}
    encoder = model.model.vision_tower
    encoder.load_state_dict({name: weights[name.removeprefix("vision_model.")] for name in encoder.state_dict()})
    model.generation_config.update(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None
    )
    return model


class CaptionerTask:
    """Each step shows one to six pictures of each of some objects, asks for one kind of text, and teaches its words.

    The image encoder stays as CLIP has trained it: to train it too would take three times as long.
    """

    def __init__(
        self, model: Any, library: Library, tokenizer: Any, batch: int, seed: int, device: str = "cpu",
        late_from: int | None = None,
    ):  # fmt: skip
        self.device = torch.device(device)
        self.model = model
        self.modules = nn.ModuleDict({"model": model}).to(self.device)
        model.model.vision_tower.requires_grad_(False)
        self._patches = model.config.image_seq_length
        self._library, self.tokenizer, self._batch, self._seed = library, tokenizer, batch, seed
        self._prompts = Prompts().asked()
        self._late_from, self._heavy = late_from, torch.tensor(sorted(_tokens_of(_PATTERN_WORDS, tokenizer)))
        self._special = {name: tokenizer.convert_tokens_to_ids(name) for name in tokens.SPECIAL}

    def losses(self, step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self._seed, step])
        chosen = clip.objects_of(step, len(self._library), self._batch, self._seed)
        count = min(int(rng.choice(_VIEWS)), self._library.views)
        views = np.stack([rng.permutation(self._library.views)[:count] for _ in chosen])  # [objects, K]
        pictures = self._library.pictures(np.repeat(chosen, count), views.reshape(-1))
        kind, prompt = self._question(rng)
        lines = []
        for row in (self._library.rows[number] for number in chosen):
            hint = hint_of({"name": captions.name(row)}) if rng.random() < _HINT_SHARE else ""
            lines.append(self.line(count, f"{prompt} {hint}".rstrip(), _WRITERS[kind](row, rng)))
        ids, labels = _padded(lines, self._special[tokens.PAD], self.device)
        with autocast(self.device):
            hidden = self.model.model(
                input_ids=ids, pixel_values=clip.normalised(pictures, self.device, rng),
                attention_mask=(ids != self._special[tokens.PAD]).long(), use_cache=False,
            ).last_hidden_state  # fmt: skip
            taught = labels[:, 1:] != _IGNORED  # each position predicts the next token
            logits = self.model.lm_head(hidden[:, :-1][taught])
        expected = labels[:, 1:][taught]
        losses = functional.cross_entropy(logits.float(), expected, reduction="none")
        if self._late_from is None or step < self._late_from:
            return {"words": losses.mean()}
        weights = torch.where(torch.isin(expected, self._heavy.to(self.device)), _LATE_WEIGHT, 1.0)
        return {"words": (weights * losses).sum() / weights.sum()}

    def _question(self, rng: np.random.Generator) -> tuple[str, str]:
        """Draw the kind of text and the prompt; all objects of a step have the same, so little padding is needed."""
        kind = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
        return kind, BRIEF[kind] if rng.random() < _BRIEF_SHARE else self._prompts[kind]

    def line(self, count: int, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """Return the tokens of the input, laid out as in TEMPLATE, and of the answer."""
        special = self._special
        given = [special[tokens.START], *[special[tokens.IMAGE]] * (count * self._patches), *self._ids(prompt)]
        return [*given, special[tokens.ANSWER]], [*self._ids(answer), special[tokens.END]]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save in half precision, with a processor that counts each picture's patches."""
    import copy

    from transformers import LlavaProcessor

    vision = model.config.vision_config
    copy.deepcopy(model).half().save_pretrained(folder)
    LlavaProcessor(
        clip.image_processor(vision.image_size), tokenizer, patch_size=vision.patch_size,
        vision_feature_select_strategy="default", chat_template=TEMPLATE, image_token=tokens.IMAGE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip


def _tokens_of(words: list[str], tokenizer: Any) -> set[int]:
    """Return the tokens of words within a sentence, without those of one or two letters, which other words have too."""
    pieces = {piece for word in words for piece in tokenizer(f" {word}", add_special_tokens=False)["input_ids"]}
    return {piece for piece in pieces if len(tokenizer.decode([piece]).strip()) > 2}


def _padded(
    lines: list[tuple[list[int], list[int]]], pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """[objects, longest] each: tokens, padded; and labels, which are _IGNORED outside the answer."""
    longest = max(len(given) + len(answer) for given, answer in lines)
    ids = torch.full((len(lines), longest), pad)
    labels = torch.full((len(lines), longest), _IGNORED)
    for row, (given, answer) in enumerate(lines):
        end = len(given) + len(answer)
        ids[row, :end] = torch.tensor([*given, *answer])
        labels[row, len(given) : end] = torch.tensor(answer)
    return ids.to(device), labels.to(device)

"""Measure a saved model on objects that it was not trained on; the cards have these figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stages.captioning import choosing
from stages.captioning.prompts import Prompts
from stages.corpus.categories import CATEGORIES
from stages.embedded.training import clip, meaning
from stages.embedded.training.pictures import Library
from stages.embedded.training.renders import directions

SHOWN = 6  # views of an object, as the product's default is
_BATCH = 64
_OBJECTS = 16  # captioned at once
_LONGEST = 64  # tokens of a text
_LABEL = "a {}"


def clip_figures(folder: Path, library: Library, count: int, device: str = "cpu") -> dict[str, float]:
    """Compute shares of the first `count` objects.

    recall_1, recall_5: the mean of an object's views finds its reference text, or one that means the same, among those
    of all objects. true_1: all that the first text says is true of the object. category: of the texts "a chair", "a
    table" and so on, that of its category is the nearest.
    """
    from transformers import AutoModel, AutoProcessor

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval().to(device)
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    rows = library.rows[:count]
    objects = _object_vectors(model, library, len(rows))
    texts = _text_vectors(model, tokenizer, [row["caption"] for row in rows])
    labels = _labels(model, tokenizer)
    facts = [meaning.facts(row["caption"]) for row in rows]
    order = np.argsort(-objects @ texts.T, axis=1, kind="stable")[:, :5]  # [objects, 5] texts
    same = np.array([[facts[text] == facts[number] for text in best] for number, best in enumerate(order)])
    true = meaning.agreement(facts, [meaning.truth(row) for row in rows])
    nearest = np.argmax(objects @ labels.T, axis=1)
    named = [CATEGORIES[number].name == row["category"] for number, row in zip(nearest, rows, strict=True)]
    return {
        "objects": len(rows),
        "recall_1": float(same[:, 0].mean()),
        "recall_5": float(same.any(1).mean()),
        "true_1": float(true[np.arange(len(rows)), order[:, 0]].mean()),
        "category": float(np.mean(named)),
    }


def label_vectors(folder: Path) -> np.ndarray:
    """[48, D]: the vectors of the categories' names."""
    from transformers import AutoModel, AutoProcessor

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    return _labels(model, AutoProcessor.from_pretrained(folder).tokenizer)


def _labels(model: Any, tokenizer: Any) -> np.ndarray:
    return _text_vectors(model, tokenizer, [_LABEL.format(category.name) for category in CATEGORIES])


def captioner_figures(folder: Path, library: Library, count: int, device: str = "cpu") -> dict[str, float]:
    """Shares of the first `count` objects whose short caption, of six views, is right."""
    texts = written(folder, library, count, "short", device)
    return caption_figures(library.rows[:count], texts)


def written(folder: Path, library: Library, count: int, kind: str, device: str = "cpu") -> list[str]:
    """Write captions of the first `count` objects, with the prompts of the product."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval().to(device)
    processor = AutoProcessor.from_pretrained(folder)
    prompt = {"type": "text", "text": Prompts().asked()[kind]}
    texts: list[str] = []
    for start in range(0, min(count, len(library)), _OBJECTS):
        messages = []
        for number in range(start, min(start + _OBJECTS, count, len(library))):
            views = np.array(views_shown(library, number, SHOWN))
            pictures = library.pictures(np.full(len(views), number), views)
            parts = [{"type": "image", "image": Image.fromarray(picture)} for picture in pictures]
            messages.append([{"role": "user", "content": [*parts, prompt]}])
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(device)  # fmt: skip
        with torch.inference_mode():
            found = model.generate(**inputs, max_new_tokens=_LONGEST, do_sample=False)
        answers = processor.batch_decode(found[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        texts += [answer.strip() for answer in answers]
    return texts


def caption_figures(rows: Sequence[dict], texts: Sequence[str]) -> dict[str, float]:
    """Compute the shares of texts that name what is true; `true`: the text says nothing that is not true."""
    pairs = list(zip(rows, texts, strict=True))
    true = [meaning.facts(text) <= meaning.truth(row) for row, text in pairs]
    return {
        "objects": len(pairs),
        "category": float(np.mean([meaning.category_in(text) == row["category"] for row, text in pairs])),
        "color": float(np.mean([meaning.color_in(text) == row["color"] for row, text in pairs])),
        "pattern": float(np.mean([meaning.pattern_in(text) == row["pattern"] for row, text in pairs])),
        "true": float(np.mean(true)),
    }


def views_shown(library: Library, number: int, count: int) -> list[int]:
    """Return the views of an object that a captioner gets."""
    row = library.rows[number]
    poses = np.tile(np.eye(4), (library.views, 1, 1))
    poses[:, :3, 3] = directions(row["number"], library.views)
    return choosing.choose(np.array(row["covered"]), poses, count)


def _object_vectors(model: Any, library: Library, count: int) -> np.ndarray:
    """[objects, D]: the normalised mean of each object's views."""
    found = []
    for number in range(count):
        views = np.arange(library.views)
        pixels = clip.normalised(library.pictures(np.full(len(views), number), views), model.device)
        with torch.inference_mode():
            found.append(_normal(model.get_image_features(pixel_values=pixels)).mean(0))
    return torch.nn.functional.normalize(torch.stack(found)).cpu().numpy()


def _text_vectors(model: Any, tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    found = []
    for start in range(0, len(texts), _BATCH):
        tokens = tokenizer(list(texts[start : start + _BATCH]), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            found.append(_normal(model.get_text_features(**tokens.to(model.device))))
    return torch.cat(found).cpu().numpy()


def _normal(found: Any) -> torch.Tensor:
    vectors = found if isinstance(found, torch.Tensor) else found.pooler_output
    return torch.nn.functional.normalize(vectors.float(), dim=-1)

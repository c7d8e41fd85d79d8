"""What a teacher should say, by transformers itself, and stages run on rows as a worker has them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manifests.store import LocalStore
from stages.artifacts.views import Views
from stages.contract.stage import Context, Outcome, Stage
from stages.embed import Embed


def pictures_of(seed: int, count: int, size: int = 40) -> list[np.ndarray]:
    """[size, size, 4] uint8: a coloured box each, with a soft edge, on nothing."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        picture = np.zeros((size, size, 4), np.uint8)
        top, left = random.integers(0, size // 2, 2)
        picture[top : top + size // 2, left : left + size // 2] = (*random.integers(0, 256, 3), 255)
        picture[top, left : left + size // 2, 3] = 128
        made.append(picture)
    return made


def views_of(pictures: list[np.ndarray]) -> Views:
    def png(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    count = len(pictures)
    cameras = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    depths = [png(np.zeros(picture.shape[:2], np.uint16)) for picture in pictures]
    return Views([png(picture) for picture in pictures], depths, cameras[:, :3, :3], cameras, 1e-4, np.eye(4))


def on_white(picture: np.ndarray) -> Image.Image:
    """By the formula of docs/rendering.md."""
    alpha = picture[..., 3:] / 255
    return Image.fromarray(np.rint(picture[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))


class Oracle:
    """transformers by its own documentation: processor, model, normalise."""

    def __init__(self, folder: Path):
        from transformers import AutoModel, AutoProcessor

        self.model = AutoModel.from_pretrained(folder).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def look(self, pictures: list[Image.Image]) -> np.ndarray:
        return self._normal(
            self.model.get_image_features(**self.processor(images=pictures, return_tensors="pt")).pooler_output
        )

    def read(self, texts: list[str]) -> np.ndarray:
        context = self.model.config.text_config.max_position_embeddings
        padding = "max_length" if "siglip" in self.model.config.model_type else True
        tokens = self.processor(text=texts, padding=padding, truncation=True, max_length=context, return_tensors="pt")
        return self._normal(self.model.get_text_features(**tokens).pooler_output)

    def _normal(self, features: Any) -> np.ndarray:
        return (features / features.norm(dim=-1, keepdim=True)).detach().numpy()


class Desk:
    """A run folder and a stage opened over it."""

    def __init__(self, folder: Path):
        self.store = LocalStore(str(folder))
        self.context = Context(self.store, folder)

    def keep(self, name: str, data: bytes) -> str:
        self.store.replace(name, data)
        return name

    def run(self, stage: Stage, *rows: dict[str, Any]) -> list[Outcome]:
        outcomes = dict(stage.open(self.context)(list(rows)))
        assert len(outcomes) == len(rows)
        return [outcomes[row["id"]] for row in rows]


def resolved(folder: Path) -> Embed:
    return Embed(model=str(folder)).resolve(gpus=0)

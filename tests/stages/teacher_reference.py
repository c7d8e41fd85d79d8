"""The vectors that a teacher should give, computed with transformers directly, and views to compute them from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.artifacts.views import Views
from stages.embed import Embed


def pictures_of(seed: int, count: int, size: int = 40) -> list[np.ndarray]:
    """[size, size, 4] uint8 each: a coloured box with a soft edge on a transparent background."""
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
    """Composite on white by the formula of docs/rendering.md."""
    alpha = picture[..., 3:] / 255
    return Image.fromarray(np.rint(picture[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))


class Reference:
    """Vectors as the documentation of transformers computes them: processor, model, normalise."""

    def __init__(self, folder: Path):
        from transformers import AutoModel, AutoProcessor

        self.model = AutoModel.from_pretrained(folder).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def embed_pictures(self, pictures: list[Image.Image]) -> np.ndarray:
        return self._normalised(
            self.model.get_image_features(**self.processor(images=pictures, return_tensors="pt")).pooler_output
        )

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        context = self.model.config.text_config.max_position_embeddings
        padding = "max_length" if "siglip" in self.model.config.model_type else True
        tokens = self.processor(text=texts, padding=padding, truncation=True, max_length=context, return_tensors="pt")
        return self._normalised(self.model.get_text_features(**tokens).pooler_output)

    def _normalised(self, features: Any) -> np.ndarray:
        return (features / features.norm(dim=-1, keepdim=True)).detach().numpy()


def resolved(folder: Path) -> Embed:
    return Embed(model=str(folder)).resolve(gpus=0)

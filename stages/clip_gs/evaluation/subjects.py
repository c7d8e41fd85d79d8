"""Read what a dataset has of the objects to evaluate on, apart from their Gaussians."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from stages.clip_gs.data.columns import vectors
from stages.clip_gs.data.same_text import normalised

COLUMNS = ("id", "category", "captions", "view_vectors", "caption_vectors", "metadata")
ATTRIBUTES = ("color", "pattern")  # columns of `metadata`, as the demo corpus has them


@dataclass(frozen=True)
class Subjects:
    """B objects with W views and T different texts."""

    ids: list[str]
    categories: list[str | None]
    attributes: dict[str, list[str | None]]
    views: torch.Tensor  # [W, D] float16, length 1
    view_objects: torch.Tensor  # [W] int64, the object of each view; sorted
    texts: torch.Tensor  # [T, D] float16, length 1
    # p pairs of an object and a text that it has, sorted by object, no pair twice:
    caption_objects: torch.Tensor  # [p] int64
    caption_texts: torch.Tensor  # [p] int64

    def only(self, ids: set[str]) -> Subjects:
        """Return the objects with these ids, in the same order."""
        kept = torch.tensor([name in ids for name in self.ids], dtype=torch.bool)
        number = kept.cumsum(0) - 1  # of those that stay
        views, pairs = kept[self.view_objects], kept[self.caption_objects]
        texts, caption_texts = self.caption_texts[pairs].unique(return_inverse=True)
        return Subjects(
            ids=_kept(self.ids, kept),
            categories=_kept(self.categories, kept),
            attributes={name: _kept(values, kept) for name, values in self.attributes.items()},
            views=self.views[views],
            view_objects=number[self.view_objects[views]],
            texts=self.texts[texts],
            caption_objects=number[self.caption_objects[pairs]],
            caption_texts=caption_texts,
        )


def gather(tables: Iterable[pa.Table], dimension: int) -> Subjects:
    """Collect the objects of tables that have COLUMNS; vectors have `dimension` numbers."""
    ids: list[str] = []
    categories: list[str | None] = []
    attributes: dict[str, list[str | None]] = {name: [] for name in ATTRIBUTES}
    views, view_objects = [np.empty((0, dimension), np.float16)], list[int]()
    texts: list[np.ndarray] = []
    numbers: dict[str, int] = {}  # of normalised texts
    pairs: dict[tuple[int, int], None] = {}
    for table in tables:
        first = len(ids)
        ids += table["id"].to_pylist()
        categories += table["category"].to_pylist()
        for text in table["metadata"].to_pylist():
            metadata = json.loads(text) if text else {}
            for name, values in attributes.items():
                values.append(metadata[name] if isinstance(metadata.get(name), str) else None)
        for owner, of_row in enumerate(_vectors(table, "view_vectors", dimension), first):
            views.append(of_row)
            view_objects += [owner] * len(of_row)
        rows = zip(table["captions"].to_pylist(), _vectors(table, "caption_vectors", dimension), strict=True)
        for owner, (captions, of_row) in enumerate(rows, first):
            for caption, vector in zip(captions, of_row, strict=False):  # a row may have captions and no vectors
                number = numbers.setdefault(normalised(caption["text"]), len(texts))
                if number == len(texts):
                    texts.append(vector)
                pairs[owner, number] = None
    captions_of = torch.tensor(list(pairs), dtype=torch.int64).reshape(-1, 2)
    return Subjects(
        ids=ids,
        categories=categories,
        attributes={name: values for name, values in attributes.items() if any(values)},
        views=torch.from_numpy(np.concatenate(views)),
        view_objects=torch.tensor(view_objects, dtype=torch.int64),
        texts=torch.from_numpy(np.array(texts, np.float16).reshape(-1, dimension)),
        caption_objects=captions_of[:, 0].contiguous(),
        caption_texts=captions_of[:, 1].contiguous(),
    )


def _vectors(table: pa.Table, name: str, dimension: int) -> list[np.ndarray]:
    """[k, D] of each row; k is 0 if the row has no vectors of this dimension."""
    found = vectors(table, name)
    return [of_row if of_row.shape[1] == dimension else np.empty((0, dimension), np.float16) for of_row in found]


def _kept(values: list[Any], kept: torch.Tensor) -> list[Any]:
    return [value for value, stays in zip(values, kept.tolist(), strict=True) if stays]

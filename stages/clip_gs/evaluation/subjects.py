"""What a dataset says of the objects that are evaluated on, apart from their Gaussians."""

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
    """B objects with W views and T texts, no two texts alike."""

    ids: list[str]
    categories: list[str | None]
    attributes: dict[str, list[str | None]]
    views: torch.Tensor  # [W, D] float16, length 1
    seen: torch.Tensor  # [W] int64, whose view it is; sorted
    texts: torch.Tensor  # [T, D] float16, length 1
    told: torch.Tensor  # [p] int64, an object that has ...
    said: torch.Tensor  # [p] int64, ... this text; sorted by object, no pair twice

    def only(self, ids: set[str]) -> Subjects:
        """Without the others, in the same order."""
        kept = torch.tensor([name in ids for name in self.ids], dtype=torch.bool)
        number = kept.cumsum(0) - 1  # of those that stay
        views, pairs = kept[self.seen], kept[self.told]
        texts, said = self.said[pairs].unique(return_inverse=True)
        return Subjects(
            ids=_kept(self.ids, kept),
            categories=_kept(self.categories, kept),
            attributes={name: _kept(values, kept) for name, values in self.attributes.items()},
            views=self.views[views],
            seen=number[self.seen[views]],
            texts=self.texts[texts],
            told=number[self.told[pairs]],
            said=said,
        )


def gather(tables: Iterable[pa.Table], dimension: int) -> Subjects:
    """Of tables with COLUMNS, whose vectors have D numbers."""
    ids: list[str] = []
    categories: list[str | None] = []
    attributes: dict[str, list[str | None]] = {name: [] for name in ATTRIBUTES}
    views, seen = [np.empty((0, dimension), np.float16)], list[int]()
    texts: list[np.ndarray] = []
    numbers: dict[str, int] = {}  # of normalised texts
    pairs: dict[tuple[int, int], None] = {}
    for table in tables:
        first = len(ids)
        ids += table["id"].to_pylist()
        categories += table["category"].to_pylist()
        for told in table["metadata"].to_pylist():
            words = json.loads(told) if told else {}
            for name, values in attributes.items():
                values.append(words[name] if isinstance(words.get(name), str) else None)
        for owner, of_row in enumerate(_vectors(table, "view_vectors", dimension), first):
            views.append(of_row)
            seen += [owner] * len(of_row)
        captions = zip(table["captions"].to_pylist(), _vectors(table, "caption_vectors", dimension), strict=True)
        for owner, (said, of_row) in enumerate(captions, first):
            for caption, vector in zip(said, of_row, strict=False):  # a row may have captions and no vectors
                number = numbers.setdefault(normalised(caption["text"]), len(texts))
                if number == len(texts):
                    texts.append(vector)
                pairs[owner, number] = None
    told = torch.tensor(list(pairs), dtype=torch.int64).reshape(-1, 2)
    return Subjects(
        ids=ids,
        categories=categories,
        attributes={name: values for name, values in attributes.items() if any(values)},
        views=torch.from_numpy(np.concatenate(views)),
        seen=torch.tensor(seen, dtype=torch.int64),
        texts=torch.from_numpy(np.array(texts, np.float16).reshape(-1, dimension)),
        told=told[:, 0].contiguous(),
        said=told[:, 1].contiguous(),
    )


def _vectors(table: pa.Table, name: str, dimension: int) -> list[np.ndarray]:
    """[k, D] of each row; k is 0 where there are none of D numbers."""
    found = vectors(table, name)
    return [of_row if of_row.shape[1] == dimension else np.empty((0, dimension), np.float16) for of_row in found]


def _kept(values: list[Any], kept: torch.Tensor) -> list[Any]:
    return [value for value, stays in zip(values, kept.tolist(), strict=True) if stays]

"""A row group as a training sees it: read once, ready to be taken from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from manifests.weak import is_weak
from stages.clip_gs.batch import Gaussians
from stages.clip_gs.census import SCORES
from stages.clip_gs.columns import GAUSSIANS, read_gaussians, real_counts, unusable, vectors, without
from stages.clip_gs.shards import Dataset, Group
from stages.clip_gs.words import normal

_COLUMNS = (
    "id", "content_hash", *GAUSSIANS, "view_vectors", "captions.list.element.text", *SCORES, "caption_vectors",
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """R rows. Lists have an entry a row."""

    ids: list[str]
    gaussians: Gaussians  # [R, M, ...]
    counts: np.ndarray  # [R] real Gaussians, which may be more than M
    views: list[np.ndarray]  # [V, D] float16
    texts: list[np.ndarray]  # [C, D] float16, one for each caption that is seen
    meanings: list[list[int]]  # of the C captions
    own_meanings: list[list[int]]  # of all captions, those too that are not seen
    objects: list[int]
    places: dict[int, int]  # where a row that was asked for lies; one that is unusable lies nowhere
    unusable: dict[str, str]  # id: why


def read_piece(
    dataset: Dataset, group: Group, rows: np.ndarray, gaussians: int, weak_below: Mapping[str, float]
) -> Piece:
    """These rows of a row group, numbered as they stand in `rows`, with their first `gaussians` Gaussians."""
    table = dataset.read(group, _COLUMNS)
    if len(rows) < len(table):
        table = table.take(rows)
    views, texts = vectors(table, "view_vectors"), vectors(table, "caption_vectors")
    captions = table["captions"].to_pylist()
    reasons = unusable(table)
    for row in range(len(table)):
        if not len(views[row]) or len(texts[row]) != len(captions[row]):
            reasons[row] = "they lack vectors of views or captions"
        elif {views[row].shape[1], texts[row].shape[1]} != {dataset.dimension}:
            reasons[row] = f"their vectors are not of the dataset's {dataset.dimension} numbers"
    if reasons:
        dataset.refuse_damage(group.shard)
    seen = [[place for place, caption in enumerate(of_row) if not is_weak(caption, weak_below)] for of_row in captions]
    good = [row for row in range(len(table)) if row not in reasons]
    numbers = [[number_of(normal(caption["text"])) for caption in of_row] for of_row in captions]
    ids, content = table["id"].to_pylist(), table["content_hash"].to_pylist()
    usable = without(table, reasons)
    return Piece(
        ids=[ids[row] for row in good],
        gaussians=read_gaussians(usable, gaussians),
        counts=real_counts(usable),
        views=[views[row] for row in good],
        texts=[texts[row][seen[row]] for row in good],
        meanings=[[numbers[row][place] for place in seen[row]] for row in good],
        own_meanings=[numbers[row] for row in good],
        objects=[number_of(content[row]) for row in good],
        places={row: place for place, row in enumerate(good)},
        unusable={ids[row]: reason for row, reason in reasons.items()},
    )


def number_of(text: str) -> int:
    """An int64 that is the same for the same text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)

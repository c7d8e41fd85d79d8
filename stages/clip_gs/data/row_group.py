"""Read the rows of a row group that are trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from manifests.weak import is_weak
from stages.clip_gs.batch import Gaussians
from stages.clip_gs.data.columns import GAUSSIANS, read_gaussians, real_counts, unusable, vectors, without
from stages.clip_gs.data.same_text import normalised
from stages.clip_gs.data.selection import SCORES
from stages.clip_gs.data.shards import Dataset, Group

_COLUMNS = (
    "id", "content_hash", *GAUSSIANS, "view_vectors", "captions.list.element.text", *SCORES, "caption_vectors",
)  # fmt: skip


@dataclass(frozen=True)
class RowGroup:
    """R rows. Lists have one entry per row."""

    ids: list[str]
    gaussians: Gaussians  # [R, M, ...]
    counts: np.ndarray  # [R] real Gaussians, which may be more than M
    views: list[np.ndarray]  # [V, D] float16
    texts: list[np.ndarray]  # [C, D] float16, one per caption that is used
    meanings: list[list[int]]  # of the C captions
    own_meanings: list[list[int]]  # of all captions, also those that are not used
    objects: list[int]
    positions: dict[int, int]  # of the requested rows in these lists; rows that cannot be used are missing
    unusable: dict[str, str]  # id: why


def read_row_group(
    dataset: Dataset, group: Group, rows: np.ndarray, gaussians: int, weak_below: Mapping[str, float]
) -> RowGroup:
    """Read these rows of a row group, each with its first `gaussians` Gaussians; they are numbered by `rows`."""
    table = dataset.read(group, _COLUMNS)
    if len(rows) < len(table):
        table = table.take(rows)
    views, texts = vectors(table, "view_vectors"), vectors(table, "caption_vectors")
    captions = table["captions"].to_pylist()
    reasons = unusable(table)
    for row in range(len(table)):
        if not len(views[row]) or len(texts[row]) != len(captions[row]):
            reasons[row] = "they have no vectors of views or captions"
        elif {views[row].shape[1], texts[row].shape[1]} != {dataset.dimension}:
            reasons[row] = f"their vectors do not have the dataset's dimension, {dataset.dimension}"
    if reasons:
        dataset.refuse_damage(group.shard)
    used = [[index for index, caption in enumerate(of_row) if not is_weak(caption, weak_below)] for of_row in captions]
    good = [row for row in range(len(table)) if row not in reasons]
    numbers = [[hash_of(normalised(caption["text"])) for caption in of_row] for of_row in captions]
    ids, content = table["id"].to_pylist(), table["content_hash"].to_pylist()
    usable = without(table, reasons)
    return RowGroup(
        ids=[ids[row] for row in good],
        gaussians=read_gaussians(usable, gaussians),
        counts=real_counts(usable),
        views=[views[row] for row in good],
        texts=[texts[row][used[row]] for row in good],
        meanings=[[numbers[row][place] for place in used[row]] for row in good],
        own_meanings=[numbers[row] for row in good],
        objects=[hash_of(content[row]) for row in good],
        positions={row: position for position, row in enumerate(good)},
        unusable={ids[row]: reason for row, reason in reasons.items()},
    )


def hash_of(text: str) -> int:
    """Hash a text to an int64."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)

"""Read and write the dataset's index, which lists its shards. It is written last: without it there is no dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from manifests import dataset, weak
from manifests.dataset_card import card
from manifests.shards import DatasetIndex, ListedShape, ListedShard, Shard
from manifests.store import Store


def write_index(
    store: Store,
    shards: Iterable[Shard],
    declared: Mapping[str, Sequence[dataset.Column]],
    *,
    provenance: Mapping[str, Any],
    weak_percent: float = 0.0,
) -> DatasetIndex:
    """Make these shards the dataset: the card, then, last, the index.

    `provenance` goes into both as it is (the resolved recipe, the project's version); it should hold no times, so that
    equal datasets are equal byte for byte.
    """
    ordered = sorted(shards, key=lambda shard: (shard["split"], shard["index"]))
    _refuse_differences(ordered)
    index: DatasetIndex = {
        "version": dataset.VERSION,
        "shape": cast(ListedShape, asdict(_shape(ordered[0]))) if ordered else None,
        "rows": _sum({shard["split"]: shard["rows"]} for shard in ordered),
        "bytes": _sum({shard["split"]: shard["bytes"]} for shard in ordered),
        "categories": {
            split: _sum(shard["categories"] for shard in ordered if shard["split"] == split)
            for split in sorted({shard["split"] for shard in ordered})
        },
        "licences": _sum(shard["licences"] for shard in ordered),
        "weak_captions": {
            "percent": weak_percent,
            "below": weak.bounds((shard["scores"] for shard in ordered), weak_percent),
        },
        "provenance": dict(provenance),
        "shards": [_listed(shard) for shard in ordered],
    }
    text = json.dumps(index, indent=1, ensure_ascii=False, default=str)
    index = json.loads(text)
    store.replace(dataset.CARD, card(index, declared).encode())
    store.replace(dataset.INDEX, (text + "\n").encode())
    return index


def _listed(shard: Shard) -> ListedShard:
    return {
        "shard": shard["shard"].removeprefix(f"{dataset.FOLDER}/"),
        "split": shard["split"],
        "index": shard["index"],
        "rows": shard["rows"],
        "bytes": shard["bytes"],
        "sha256": shard["sha256"],
    }


def _shape(shard: Shard) -> dataset.Shape:
    views, gaussians, terms = shard["shape"]
    return dataset.Shape(views, gaussians, terms, shard["float_type"])


def _refuse_differences(shards: Sequence[Shard]) -> None:
    for shard in shards[1:]:
        if _shape(shard) != _shape(shards[0]):
            raise ValueError(
                f"{shard['shard']} has {_shape(shard)} where {shards[0]['shard']} has {_shape(shards[0])}: "
                "one dataset has one number of views, Gaussians and SH coefficients"
            )
    blocks = [(shard["split"], shard["index"]) for shard in shards]
    if len(set(blocks)) < len(blocks):
        twice = next(block for block in blocks if blocks.count(block) > 1)
        raise ValueError(f"two shards for block {twice[1]} of split {twice[0]!r}: a block has one")


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def read_index(store: Store) -> DatasetIndex | None:
    """The index, or None where no dataset has been finished yet."""
    try:
        index = json.loads(store.read(dataset.INDEX))
    except FileNotFoundError:
        return None
    if index["version"] != dataset.VERSION:
        raise ValueError(f"{dataset.INDEX} is of version {index['version']}; expected version {dataset.VERSION}")
    return index


def remove_superseded(store: Store, index: DatasetIndex) -> list[str]:
    """Delete the files among the shards that are not in the index; return their names."""
    kept = {f"{dataset.FOLDER}/{shard['shard']}" for shard in index["shards"]}
    superseded = [name for name in store.list(dataset.DATA) if name not in kept]
    for name in superseded:
        store.delete(name)
    return superseded

"""Read and write the dataset's index, which lists its shards. It is written last: without it there is no dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypedDict, cast

from manifests import dataset, weak
from manifests.dataset_card import card
from manifests.distribution import Distribution, Summary
from manifests.shards import DatasetIndex, ListedShape, ListedShard, Shard, check_index
from manifests.store import DRAFT, Store
from manifests.text import message

_MENDED = "the build command of this run writes it again"


class _Figures(TypedDict, total=False):
    figures: dict[str, Summary]


class DatasetError(ValueError):
    """The index of a dataset is damaged or of another version."""


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
    index = make_index(shards, provenance=provenance, weak_percent=weak_percent)
    store.replace(dataset.CARD, card(index, declared).encode())
    store.replace(dataset.INDEX, _text(index).encode())
    return index


def make_index(shards: Iterable[Shard], *, provenance: Mapping[str, Any], weak_percent: float) -> DatasetIndex:
    """The index of these shards."""
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
        **_figures(ordered),
        "provenance": dict(provenance),
        "shards": [listed(shard) for shard in ordered],
    }
    return json.loads(_text(index))


def _figures(shards: Sequence[Shard]) -> _Figures:
    """The distribution of each figure; nothing where an earlier version packed all shards."""
    known = [shard["figures"] for shard in shards if "figures" in shard]
    columns = dict.fromkeys(column for figures in known for column in figures)
    summaries = {
        column: Distribution.of_texts(figures.get(column, "") for figures in known).summary() for column in columns
    }
    return {"figures": summaries} if summaries else {}


def _text(index: DatasetIndex) -> str:
    return json.dumps(index, indent=1, ensure_ascii=False, default=str) + "\n"


def listed(shard: Shard) -> ListedShard:
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
    """The index, or None where no dataset has been finished yet; raise DatasetError if it cannot be read."""
    try:
        index = json.loads(store.read(dataset.INDEX))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{store.root}/{dataset.INDEX} is damaged: {message(error)}; {_MENDED}") from error
    version = index.get("version") if isinstance(index, dict) else None
    if isinstance(version, int) and version != dataset.VERSION:
        raise DatasetError(f"{dataset.INDEX} is of version {version}; expected version {dataset.VERSION}")
    try:
        return check_index(index)
    except ValueError as error:
        raise DatasetError(f"{store.root}/{dataset.INDEX} is damaged: {message(error)[:300]}; {_MENDED}") from error


def remove_superseded(store: Store, index: DatasetIndex) -> list[str]:
    """Delete the shards that are not in the index, and drafts of drivers that died; return the names of the files."""
    kept = {f"{dataset.FOLDER}/{shard['shard']}" for shard in index["shards"]}
    drafts = [name for name in store.list(dataset.FOLDER) if name.endswith(DRAFT)]
    superseded = sorted({*store.list(dataset.DATA), *drafts} - kept)
    for name in superseded:
        store.delete(name)
    return superseded

"""Figures of the embedded models on meshes that others made: a dataset that was built with them.

Only objects of a category that the models know count. They are expected to be poor at it; the cards say how poor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from manifests import dataset, dataset_index
from manifests.store import LocalStore
from stages.corpus.categories import CATEGORIES
from stages.embedded.training import evaluation, meaning

_COLUMNS = ["category", "view_vectors", "captions"]


def figures(name: str, folder: Path, place: Path) -> dict[str, float]:
    """The share of objects whose category the model in `folder` gets right; place: RUN, with RUN/dataset."""
    rows = _known(place)
    if name == "clip":
        vectors = np.stack([np.array(row["view_vectors"], np.float32).mean(0) for row in rows])
        labels = evaluation.label_vectors(folder)
        named = [CATEGORIES[number].name for number in np.argmax(vectors @ labels.T, axis=1)]
    else:
        shorts = [next((told["text"] for told in row["captions"] if told["kind"] == "short"), "") for row in rows]
        named = [meaning.category_in(text) for text in shorts]
    right = [name == row["category"] for name, row in zip(named, rows, strict=True)]
    return {"objects": len(rows), "category": float(np.mean(right))}


def _known(place: Path) -> list[dict]:
    index = dataset_index.read_index(LocalStore(str(place)))
    if index is None:
        raise SystemExit(f"{place}: no dataset there; expected the run of a build with these models")
    known = {category.name for category in CATEGORIES}
    rows = []
    for shard in index["shards"]:
        table = parquet.read_table(place / dataset.FOLDER / shard["shard"], columns=_COLUMNS)
        for row in table.to_pylist():
            category = (row["category"] or "").replace("_", " ")
            if category in known and row["view_vectors"]:
                rows.append(row | {"category": category})
    if not rows:
        raise SystemExit(f"{place}: no object is of a category that the models know, or no teacher has looked at it")
    return rows

"""Measure the embedded models on other meshes, in a dataset that was built with them.

Only objects of a category that the models know count. The figures are expected to be poor; the cards have them.
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


def figures(name: str, folder: Path, run: Path) -> dict[str, float]:
    """Compute the share of objects of a run whose category the model in `folder` gets right."""
    rows = _known(run)
    if name == "clip":
        vectors = np.stack([np.array(row["view_vectors"], np.float32).mean(0) for row in rows])
        labels = evaluation.label_vectors(folder)
        named = [CATEGORIES[number].name for number in np.argmax(vectors @ labels.T, axis=1)]
    else:
        shorts = [next((it["text"] for it in row["captions"] if it["kind"] == "short"), "") for row in rows]
        named = [meaning.category_in(text) for text in shorts]
    right = [name == row["category"] for name, row in zip(named, rows, strict=True)]
    return {"objects": len(rows), "category": float(np.mean(right))}


def _known(run: Path) -> list[dict]:
    index = dataset_index.read_index(LocalStore(str(run)))
    if index is None:
        raise SystemExit(f"{run}: no dataset there; expected the run of a build with these models")
    known = {category.name for category in CATEGORIES}
    rows = []
    for shard in index["shards"]:
        table = parquet.read_table(run / dataset.FOLDER / shard["shard"], columns=_COLUMNS)
        for row in table.to_pylist():
            category = (row["category"] or "").replace("_", " ")
            if category in known and row["view_vectors"]:
                rows.append(row | {"category": category})
    if not rows:
        raise SystemExit(f"{run}: no object has a category that the models know and vectors of a teacher")
    return rows

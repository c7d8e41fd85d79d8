"""CLIP-GS vectors of a dataset as one Parquet file, for search and for others.

Columns: id, split, category, vector (fixed-size list, length 1); a row an object, ordered by id. The schema's metadata
(key `gs_triplets`, JSON) says which model and which dataset they are of.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as parquet

from manifests.store import DRAFT, is_uri, open_store
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.vectors import Encoded

VERSION = 1
FloatType = Literal["float32", "float16"]


def to_table(dataset: Dataset, encoded: dict[str, Encoded], told: dict[str, Any], float_type: FloatType) -> pa.Table:
    """Rows of all splits, by id; `told` goes into the metadata."""
    kind = pa.float16() if float_type == "float16" else pa.float32()
    parts = []
    for split, found in encoded.items():
        categories: dict[str, str | None] = {}
        for table in dataset.rows(split, ("id", "category")):
            categories.update(zip(table["id"].to_pylist(), table["category"].to_pylist(), strict=True))
        numbers = found.vectors.numpy().astype(kind.to_pandas_dtype())
        columns = {
            "id": pa.array(found.ids, pa.string()),
            "split": pa.array([split] * len(found.ids), pa.string()),
            "category": pa.array([categories[row_id] for row_id in found.ids], pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), numbers.shape[1]),
        }
        parts.append(pa.table(columns))
    table = pa.concat_tables(parts).sort_by("id")
    described = {"version": VERSION, "dataset": dataset.identity, **told}
    return table.replace_schema_metadata({"gs_triplets": json.dumps(described, ensure_ascii=False)})


def publish(table: pa.Table, place: str) -> None:
    """Written aside, and put in its place whole: a path or a URI."""
    place = place if is_uri(place) else os.path.abspath(os.path.expanduser(place))
    folder, _, name = place.rpartition("/")
    if is_uri(place):
        with tempfile.TemporaryDirectory() as scratch:
            _write(table, Path(scratch) / name)
            open_store(folder).upload(name, Path(scratch) / name)
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    draft = Path(folder) / f"{name}.{uuid.uuid4().hex}{DRAFT}"
    try:
        _write(table, draft)
        os.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)


def _write(table: pa.Table, path: Path) -> None:
    settings = {"use_byte_stream_split": ["vector.list.element"], "use_dictionary": ["split", "category"]}
    parquet.write_table(table, path, compression="zstd", **settings)

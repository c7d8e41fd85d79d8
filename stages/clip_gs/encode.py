"""Write the CLIP-GS vectors of a dataset to one Parquet file.

Columns: id, split, category, vector (fixed-size list, length 1); one row per object, ordered by id. The schema's
metadata (key `gs_triplets`, JSON) names the model and the dataset.
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

from manifests.addresses import is_uri
from manifests.store import DRAFT, open_store
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.vectors import Encoded

VERSION = 1
FloatType = Literal["float32", "float16"]


def to_table(
    dataset: Dataset, encoded: dict[str, Encoded], description: dict[str, Any], float_type: FloatType
) -> pa.Table:
    """Make a table of all splits, ordered by id; `description` goes into the metadata."""
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
    metadata = {"version": VERSION, "dataset": dataset.identity, **description}
    return table.replace_schema_metadata({"gs_triplets": json.dumps(metadata, ensure_ascii=False)})


def publish(table: pa.Table, out: str) -> None:
    """Write the table to a path or a URI, where it appears only when it is complete."""
    out = out if is_uri(out) else os.path.abspath(os.path.expanduser(out))
    folder, _, name = out.rpartition("/")
    if is_uri(out):
        with tempfile.TemporaryDirectory() as scratch:
            _write(table, Path(scratch) / name)
            open_store(folder).upload(name, Path(scratch) / name)
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    draft = Path(folder) / f"{name}.{uuid.uuid4().hex}{DRAFT}"
    try:
        _write(table, draft)
        os.replace(draft, out)
    finally:
        draft.unlink(missing_ok=True)


def _write(table: pa.Table, path: Path) -> None:
    settings = {"use_byte_stream_split": ["vector.list.element"], "use_dictionary": ["split", "category"]}
    parquet.write_table(table, path, compression="zstd", **settings)

"""The listing: all rows of a run, as last read from the source. Each row keeps its sequence number for ever."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.sources import COLUMNS, SourceRow
from manifests.store import Store
from manifests.text import message

FOLDER = "manifest/rows"
SCHEMA = pa.schema(
    [
        *[(name, pa.list_(pa.string()) if name == "tags" else pa.string()) for name in COLUMNS],
        ("extra", pa.string()),  # JSON of the source list's other columns
        ("problem", pa.string()),  # the reason why the row cannot be used, null if it can
        ("problem_detail", pa.string()),
        ("sequence", pa.int64()),  # assigned when the row is first listed, never reused
        ("withdrawn", pa.bool_()),  # no longer in the source
    ]
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The rows that are in the source now, ordered by sequence number."""

    table: pa.Table

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def ids(self) -> pa.Array:
        return self.table.column("id").combine_chunks()

    @property
    def sequences(self) -> np.ndarray:
        return self.table.column("sequence").to_numpy()

    def rows(self, indices: list[int]) -> list[dict[str, Any]]:
        """Rows as dicts, without their null fields."""
        chosen = self.table.take(pa.array(indices, pa.int64())).to_pylist()
        rows = []
        for values in chosen:
            row = {name: value for name, value in values.items() if value is not None}
            row["extra"] = json.loads(row["extra"]) if "extra" in row else {}
            rows.append(row)
        return rows


def update_listing(store: Store, rows: list[SourceRow], epoch: int) -> Listing:
    """Number the rows, write the listing if it changed, and return the present rows.

    Known rows keep their numbers, new rows get the next ones, and rows no longer in the source are kept as withdrawn.
    """
    before = _read_newest(store)
    numbers = dict(zip(before.column("id").to_pylist(), before.column("sequence").to_pylist(), strict=True))
    following = max(numbers.values(), default=-1) + 1
    present = set()
    for row in rows:
        if row["id"] not in numbers:
            numbers[row["id"]] = following
            following += 1
        present.add(row["id"])
    table = _to_table(rows, numbers)
    gone = pa.array([name not in present for name in before.column("id").to_pylist()], pa.bool_())
    withdrawn = before.filter(gone)
    withdrawn = withdrawn.set_column(
        SCHEMA.get_field_index("withdrawn"), "withdrawn", pa.array([True] * withdrawn.num_rows, pa.bool_())
    )
    whole = pa.concat_tables([table, withdrawn]).sort_by("sequence")
    if not whole.equals(before):
        sink = pa.BufferOutputStream()
        pq.write_table(whole, sink, compression="zstd")
        store.replace(f"{FOLDER}/{epoch:08d}.parquet", sink.getvalue().to_pybytes())
    return _present(whole)


def read_listing(store: Store) -> Listing:
    return _present(_read_newest(store))


def _present(whole: pa.Table) -> Listing:
    return Listing(whole.filter(pc.invert(whole.column("withdrawn"))).combine_chunks())


def _to_table(rows: list[SourceRow], numbers: dict[str, int]) -> pa.Table:
    arrays = []
    for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True):
        if name == "sequence":
            values: list[Any] = [numbers[row["id"]] for row in rows]
        elif name == "withdrawn":
            values = [False] * len(rows)
        elif name == "extra":
            values = [
                json.dumps(row["extra"], sort_keys=True, default=str, ensure_ascii=False) if row.get("extra") else None
                for row in rows
            ]
        else:
            values = [row.get(name) for row in rows]
        arrays.append(pa.array(values, kind))
    return pa.table(arrays, schema=SCHEMA)


def _read_newest(store: Store) -> pa.Table:
    for name in reversed([name for name in store.list(FOLDER) if name.endswith(".parquet")]):
        data = store.read(name)
        try:
            return pq.read_table(pa.BufferReader(data), use_threads=False).cast(SCHEMA)
        except (pa.ArrowException, OSError) as error:  # pyarrow raises either for damaged files
            logger.warning("%s is damaged (%s); using the listing before it", name, message(error))
    return SCHEMA.empty_table()

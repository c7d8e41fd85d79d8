"""The log of a run: records in Parquet files, called parts, from which the latest state of every row is read.

Parts are named `manifest/log/<stage>/<epoch>-<sequence>.parquet`. Only the driver writes them. A part is never changed.
A snapshot (`...-snapshot.parquet`) replaces all parts before it, which can then be deleted. A part that a driver wrote
after it lost the lease does not count.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.json import ParseOptions, read_json

from manifests.records import OK, SCHEMA, Record
from manifests.store import Store
from manifests.text import encodable, message

FOLDER = "manifest/log"
_PART = re.compile(
    r"manifest/log/(?P<stage>[^/]+)/(?P<epoch>\d{8})-(?P<sequence>\d{8})(?P<snapshot>-snapshot)?\.parquet$"
)
STATE_COLUMNS = ("key", "status", "reason", "transient", "attempts")
OUTCOME_COLUMNS = ("status", "columns")
_RECENT_PARTS = 3

Condense = Callable[[pa.Table], pa.Table]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Part:
    epoch: int
    sequence: int
    stage: str
    snapshot: bool = False

    @property
    def name(self) -> str:
        ending = "-snapshot" if self.snapshot else ""
        return f"{FOLDER}/{self.stage}/{self.epoch:08d}-{self.sequence:08d}{ending}.parquet"


def list_parts(store: Store, bounds: dict[int, int] | None = None) -> list[Part]:
    """The parts that count, in the order they were written. `bounds`: the last sequence that counts, by old epoch."""
    found = []
    for name in store.list(FOLDER):
        match = _PART.match(name)
        if match:
            part = Part(int(match["epoch"]), int(match["sequence"]), match["stage"], bool(match["snapshot"]))
            if bounds is None or part.sequence <= bounds.get(part.epoch, part.sequence):
                found.append(part)
    return sorted(found)


def _encode(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def _to_table(records: list[Record]) -> pa.Table:
    """Records as a table. Whatever their texts hold, they can be encoded: one row must not stop the log."""
    columns = {
        "columns": [json.dumps(encodable(record.columns), default=str) if record.columns else "" for record in records],
        "seen": [json.dumps(record.seen) if record.seen else "" for record in records],  # escaped, so paths stay as are
        "error": [message(record.error) for record in records],
    }
    for name in SCHEMA.names:
        if name not in columns:
            columns[name] = [encodable(getattr(record, name)) for record in records]
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


@dataclass
class Log:
    """Writes the log: buffers records and writes them as parts."""

    store: Store
    epoch: int
    sequence: int = 0
    _pending: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))

    @property
    def pending(self) -> int:
        return sum(len(records) for records in self._pending.values())

    def add(self, record: Record) -> None:
        self._pending[record.stage].append(record)

    def flush(self) -> None:
        for stage, records in list(self._pending.items()):
            self.sequence += 1
            part = Part(self.epoch, self.sequence, stage)
            self.store.replace(part.name, _encode(_to_table(records)))
            del self._pending[stage]

    def compact(self, parts: Iterable[Part], fewest: int = 20) -> bool:
        """Replace the parts of each stage that has at least `fewest` by a snapshot; return whether any stage had."""
        compacted = False
        by_stage = defaultdict(list)
        for part in parts:
            by_stage[part.stage].append(part)
        for stage, own in by_stage.items():
            if len(own) < fewest:
                continue
            latest = _latest(_read(self.store, own, SCHEMA.names))
            self.sequence += 1
            snapshot = Part(self.epoch, self.sequence, stage, snapshot=True)
            self.store.replace(snapshot.name, _encode(latest))
            for part in own:
                self.store.delete(part.name)
            compacted = True
        return compacted


def _read(
    store: Store,
    parts: list[Part],
    columns: Iterable[str],
    condense: Callable[[pa.Table], pa.Table] = lambda read: read,
) -> pa.Table:
    """The records of one stage's parts, in order. A damaged part is skipped with a warning.

    `condense` makes less of some records at a time: all at once, the JSON in `columns` may take gigabytes.
    """
    newest_snapshot = max((index for index, part in enumerate(parts) if part.snapshot), default=0)
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    tables = [condense(schema.empty_table())]
    for part in parts[newest_snapshot:]:
        data = store.read(part.name)
        try:
            tables += [condense(piece.cast(schema)) for piece in _pieces(data, columns)]
        except (pa.ArrowException, OSError, ValueError) as error:
            logger.warning(
                "%s is damaged (%s); its records are skipped, and the outcomes in artifacts/ are found again",
                part.name,
                message(error),
            )
    return pa.concat_tables(tables).unify_dictionaries()


def read_part(data: bytes, columns: Iterable[str] = SCHEMA.names) -> pa.Table:
    """Read a part; its pages have checksums, unless an earlier version wrote it."""
    file = pa.BufferReader(data)
    return pq.read_table(file, columns=list(columns), use_threads=False, page_checksum_verification=True)


def _pieces(data: bytes, columns: Iterable[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        for batch in file.iter_batches(100_000, columns=list(columns), use_threads=False):
            yield pa.Table.from_batches([batch])


def with_fields(records: pa.Table, fields: pa.Schema) -> pa.Table:
    """Records with some fields of the JSON in `columns` in its place."""
    found = read_fields(records.column("columns").to_pylist(), fields)
    for name in fields.names:
        records = records.append_column(fields.field(name), found.column(name))
    return records.drop_columns("columns")


def with_list(records: pa.Table, name: str) -> pa.Table:
    """Records whose `columns` are null unless they have a list of texts of this name with something in it."""
    has = pc.match_substring(records.column("columns"), f'"{name}": ["')  # as `json.dumps` writes it
    columns = pc.if_else(has, records.column("columns"), None)
    return records.set_column(records.column_names.index("columns"), "columns", columns)


def read_fields(objects: list[str | None], fields: pa.Schema) -> pa.Table:
    """Some fields of JSON objects; null where an object has none, or one of another type."""
    lines = "\n".join(text or "{}" for text in objects)
    options = ParseOptions(explicit_schema=fields, unexpected_field_behavior="ignore")
    try:
        found = read_json(pa.BufferReader(lines.encode()), parse_options=options)
    except pa.ArrowException:  # one of them is damaged
        found = None
    if found is not None and len(found) == len(objects):
        return found
    rows = [read_object(text) for text in objects]
    return pa.table([[_value(row.get(field.name), field.type) for row in rows] for field in fields], schema=fields)


def _value(value: Any, type_: pa.DataType) -> Any:
    try:
        return pa.scalar(value, type_).as_py()
    except pa.ArrowException:
        return None


def read_object(text: str | None) -> dict[str, Any]:
    """The JSON object in a column of a record; an empty one where there is none, or where it is damaged."""
    try:
        content = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _latest(records: pa.Table) -> pa.Table:
    """The last record of every id."""
    codes = records.column("id").combine_chunks().dictionary_encode()
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    last = np.full(len(codes.dictionary), -1, np.int64)
    last[codes.indices.to_numpy(zero_copy_only=False)] = np.arange(records.num_rows)
    return records.take(pa.array(np.sort(last)))


@dataclass(frozen=True)
class LatestRecords:
    """The latest record of each row at one stage. Record i is about row `rows[i]`."""

    rows: np.ndarray  # int64, indices into the ids that were asked for
    records: pa.Table


class LogReader:
    """Reads the latest records of a run, one stage at a time. The parts are listed once, when it is made."""

    def __init__(self, store: Store, bounds: dict[int, int] | None = None):
        self.store = store
        self.parts = list_parts(store, bounds)

    def latest_of(
        self,
        stage: str,
        ids: pa.Array,
        columns: Iterable[str] = STATE_COLUMNS,
        condense: Condense = lambda read: read,
    ) -> LatestRecords:
        """The latest record of each of these ids that has one; records of other ids are skipped.

        `condense` makes less of some records at a time, such as `with_fields`.
        """
        own = [part for part in self.parts if part.stage == stage]
        records = _read(self.store, own, ("id", *columns), condense)
        found = pc.index_in(records.column("id"), value_set=ids)
        found = found.combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        records = records.drop_columns("id")
        last = np.full(len(ids), -1, np.int64)
        known = np.flatnonzero(found >= 0)
        last[found[known]] = known  # numpy keeps the last of repeated indices
        rows = np.flatnonzero(last >= 0)
        return LatestRecords(rows, records.take(pa.array(last[rows])))

    def mean_seconds(self, stage: str) -> float | None:
        """The mean seconds of a row in the newest parts of a stage, without rows that were found or have failed."""
        own = [part for part in self.parts if part.stage == stage]
        records = _read(self.store, own[-_RECENT_PARTS:], ("status", "seconds"))
        worked = records.filter((pc.field("status") == OK) & (pc.field("seconds") > 0))
        return pc.mean(worked.column("seconds")).as_py()

    def latest(self, stage: str) -> pa.Table:
        """The latest record of every id that the stage ever saw, with all columns."""
        own = [part for part in self.parts if part.stage == stage]
        return _latest(_read(self.store, own, SCHEMA.names))

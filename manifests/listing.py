"""The listing: all rows of a run, as last read from the source. Each row keeps its sequence number for ever."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.source_row import COLUMNS, SourceRow
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


class DamagedListing(OSError):
    """The list of rows of a run is damaged."""


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

    @cached_property
    def schemes(self) -> tuple[str, ...]:
        """The schemes of the rows' URIs; "" for paths."""
        found = pc.extract_regex(self.table.column("uri"), r"^(?P<scheme>[A-Za-z0-9+.-]+)://")
        schemes = pc.unique(pc.struct_field(found, "scheme")).to_pylist()
        return tuple(sorted({(scheme or "").lower() for scheme in schemes}))

    def with_up(self, up: str, upright: tuple[str, ...]) -> Listing:
        """The same rows, with this `up` where the source gives none: "y", "z" or "auto".

        upright: endings of files that have y up by definition, of which `auto` leaves it at that. y is what a row
        without `up` has.
        """
        given = self.table.column("up")
        filled = given if up == "y" else pc.fill_null(given, up)
        pattern = rf"(?i)({'|'.join(map(re.escape, upright))})(::|[?#]|$)"
        known = pc.and_(pc.equal(filled, "auto"), pc.match_substring_regex(self.table.column("uri"), pattern))
        filled = pc.if_else(pc.fill_null(known, False), pa.scalar(None, pa.string()), filled)
        return Listing(self.table.set_column(self.table.schema.get_field_index("up"), "up", filled))

    def rows(self, indices: list[int]) -> list[dict[str, Any]]:
        """Rows as dicts, without their null fields."""
        chosen = self.table.take(pa.array(indices, pa.int64())).to_pylist()
        rows = []
        for values in chosen:
            row = {name: value for name, value in values.items() if value is not None}
            row["extra"] = json.loads(row["extra"]) if "extra" in row else {}
            rows.append(row)
        return rows


@dataclass(frozen=True)
class RowChanges:
    """How many rows were listed before, and how many a source adds, withdraws and changes."""

    before: int
    added: int
    withdrawn: int
    changed: int


@dataclass(frozen=True)
class Revision:
    """The rows of a source beside those that were listed last, before they are written."""

    store: Store
    before: pa.Table
    after: pa.Table
    damaged: bool  # the file that was written last cannot be read

    @property
    def listing(self) -> Listing:
        return _present(self.after)

    def count(self) -> RowChanges:
        old, new = _present(self.before).table, _present(self.after).table
        both, in_old, in_new = np.intersect1d(
            old.column("sequence").to_numpy(), new.column("sequence").to_numpy(), return_indices=True
        )
        changed = np.zeros(len(both), bool)
        for name in SCHEMA.names[: SCHEMA.get_field_index("sequence")]:
            first, second = (_comparable(table.column(name)).take(at) for table, at in ((old, in_old), (new, in_new)))
            changed |= ~pc.equal(first, second).to_numpy(zero_copy_only=False)
        return RowChanges(len(old), len(new) - len(both), len(old) - len(both), int(changed.sum()))

    def write(self, epoch: int) -> Listing:
        """Write the listing if it changed, and return the present rows."""
        if self.damaged or not self.after.equals(self.before):
            _write(self.store, self.after, epoch)
        return self.listing


def revise(store: Store, rows: list[SourceRow]) -> Revision:
    """Number the rows. Known rows keep their numbers, new rows get the next ones; a row that is no longer in the source
    is kept as withdrawn."""
    before, whole_file = _read_newest(store)
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
    return Revision(store, before, whole, damaged=not whole_file)


def update_listing(store: Store, rows: list[SourceRow], epoch: int) -> Listing:
    return revise(store, rows).write(epoch)


def with_earlier_names(rows: list[SourceRow], before: Listing) -> list[SourceRow]:
    """The rows with the absolute paths that an earlier version gave them as ids and sources, where the run has them.

    Else all these rows would be withdrawn and added again, or packed again.
    """
    names = before.table.select(["id", "source"]).to_pylist()
    sources = {row["id"]: row["source"] for row in names if (row["source"] or "").startswith(("/", "file:///"))}
    return [_with_earlier_name(row, sources) for row in rows] if sources else rows


def _with_earlier_name(row: SourceRow, sources: dict[str, str]) -> SourceRow:
    paths = (row["uri"], f"file://{row['uri']}")
    source = row.get("source", "")
    if not row["uri"].endswith(f"/{source}"):
        return row
    given = [name for name in ((row["id"],) if row["id"] != source else paths) if sources.get(name) in paths]
    return {**row, "id": given[0], "source": sources[given[0]]} if given else row


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as text, without nulls."""
    text = pc.binary_join(column, "\0") if pa.types.is_list(column.type) else column
    return pc.fill_null(text, "\0")


def read_listing(store: Store) -> Listing:
    return _present(_read_newest(store)[0])


def require_listing(store: Store) -> None:
    """Raise DamagedListing if the rows that were listed last cannot be read, or only those listed before them."""
    names = _names(store)
    if names and all(_read(store, name) is None for name in (names[-1], _copy_of(_epoch_of(names[-1])))):
        raise DamagedListing(
            f"{store.root}/{names[-1]} and its copy are damaged: give --source, so that the rows are listed again"
        )


def damaged_files(store: Store) -> list[str]:
    """The files of the newest listing that are damaged, or its last one if it differs from the copy."""
    names = _names(store)
    newest = [name for name in names if _epoch_of(name) == _epoch_of(names[-1])]
    damaged = [name for name in newest if _read(store, name) is None]
    return damaged or (newest[-1:] if len({store.read(name) for name in newest}) > 1 else [])


def mend_listing(store: Store, epoch: int) -> None:
    """Write the newest listing that can be read again."""
    table, _ = _read_newest(store)
    if len(table):
        _write(store, table, epoch)


def _write(store: Store, table: pa.Table, epoch: int) -> None:
    """Write the listing and a copy: the numbers in it are nowhere else."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    for name in (_copy_of(epoch), f"{FOLDER}/{epoch:08d}.parquet"):
        store.replace(name, sink.getvalue().to_pybytes())


def _copy_of(epoch: int) -> str:
    return f"{FOLDER}/{epoch:08d}-copy.parquet"


def _epoch_of(name: str) -> int:
    return int(name.removeprefix(f"{FOLDER}/")[:8])


def _names(store: Store) -> list[str]:
    """The files of all listings in the order of their epochs, each after its copy."""
    return [name for name in store.list(FOLDER) if re.fullmatch(rf"{FOLDER}/\d{{8}}(-copy)?\.parquet", name)]


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


def _read_newest(store: Store) -> tuple[pa.Table, bool]:
    """The newest listing that can be read, and whether that is the last file that was written."""
    for number, name in enumerate(reversed(_names(store))):
        table = _read(store, name)
        if table is not None:
            return table, number == 0
    return SCHEMA.empty_table(), True


def _read(store: Store, name: str) -> pa.Table | None:
    """A listing, or None if it is damaged."""
    try:
        file = pa.BufferReader(store.read(name))
        return pq.read_table(file, use_threads=False, page_checksum_verification=True).cast(SCHEMA)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError) as error:  # pyarrow raises any of them for damaged files
        logger.warning("%s is damaged (%s); using its copy or an earlier listing", name, message(error)[:120])
        return None

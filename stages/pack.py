"""Pack a block of settled rows into one Parquet shard.

in (a row is a block): split, index, members: source rows with `keys` of their stages, each of which says by
`Stage.entry` what it gives a row of the dataset; `warnings` of any
out: shard, split, index, rows, marks (a hash of each member's id and content), bytes, sha256, shape, float_type,
categories, licences, scores (of captions, counted by kind)
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from manifests import dataset, weak
from manifests.store import Store
from stages.contract.schedule import Schedule
from stages.contract.stage import (
    MISSING_INPUT,
    Context,
    Done,
    ReadArtifact,
    Reason,
    Row,
    Stage,
    StageError,
    Work,
    each,
    store_error,
)

_OWN_COLUMNS = {"id", "keys", "group", "category", "source", "licence", "split"}
# Digest of the first contract. Keys of its shards do not contain it, since older versions did not know of contracts.
_FIRST_CONTRACT = "3231bee3609463ef"


@dataclass(frozen=True)
class RowStage:
    """A stage of rows: its name, its class, and whether a row must have come through it to be packed."""

    name: str
    kind: type[Stage]
    required: bool


class Pack(Stage):
    """Write a block of rows as a shard of the dataset, under a name made from its content."""

    version: ClassVar[int] = 3  # 3: a warning once; more of the source list in `metadata`; surplus Gaussians cut
    unkeyed: ClassVar[tuple[str, ...]] = ("weak_percent",)
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("missing_key", "a row did not come through ingest, render and fit"),
        Reason("mixed_views", "a row has another number of views than the first of its block"),
        Reason("mixed_gaussians", "a row's Gaussians have another number of harmonics than the first of its block"),
        Reason("not_finite", "a splat has a number that is infinite or NaN in `pack.float_type`"),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=0.5, batch=1, workers=4, timeout_seconds=600)
    of_blocks: ClassVar[bool] = True

    gaussians: int | None = Field(None, ge=0)
    """Gaussians a row has in the dataset, N; of more the first are taken, fewer are padded. Usually those of fit."""
    float_type: Literal["float32", "float16"] = "float32"
    """Type of the Gaussians' numbers."""
    compression: Literal["zstd", "snappy", "none"] = "zstd"
    """Of all columns but the pictures, which are PNGs already."""
    row_group_bytes: int = Field(100_000_000, ge=1, le=1_000_000_000)
    """Uncompressed bytes after which a row group is closed; also what bounds the memory of a worker."""
    row_group_rows: int | None = Field(None, ge=1)
    """Rows after which a row group is closed, where that comes first."""
    weak_percent: float = Field(10.0, ge=0, le=100)
    """So many percent of each kind of caption, those with the lowest scores, are marked as weak; none is left out."""

    stages: tuple[RowStage, ...] = Field((), exclude=True, repr=False)
    """All stages of rows in their order, also those that a recipe leaves out; filled in."""

    def contract(self, shape: dataset.Shape) -> dataset.Contract:
        return dataset.Contract(shape, {stage.name: stage.kind.columns for stage in self.stages})

    @property
    def contract_mark(self) -> str:
        """The part of a shard's key that depends on the columns of the dataset; "" for the first contract."""
        digest = self.contract(dataset.Shape(1, 1, 1)).digest()
        return "" if digest == _FIRST_CONTRACT else digest

    def key(self, row: Row, needed: Sequence[str] = (), content: str = "", failed: bool = False) -> str:
        return super().key(row, needed, content + self.contract_mark, failed)

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Pack:
        return self if self.gaussians else self.model_copy(update={"gaussians": earlier["fit"].gaussians})

    def open(self, context: Context) -> Work:
        if self.gaussians is None:
            raise ValueError("pack.gaussians is not set: expected the number of Gaussians that fit writes")
        return each(lambda block: self._pack(block, context))

    def stands(self, store: Store, columns: Row) -> bool:
        return store.exists(columns["shard"])

    def _pack(self, block: Row, context: Context) -> Done:
        path = context.scratch / f"{block['id']}.parquet"
        try:
            counts = {"categories": {}, "licences": {}, "scores": {}}
            contract = self._write(path, _counted(self._read(block, context), counts))
            _validate(path, contract, len(block["members"]))
            size, digest = path.stat().st_size, _sha256(path)
            name = f"{dataset.DATA}/{block['split']}-{block['index']:05d}-{digest[:12]}.parquet"
            context.store.upload(name, path)
        except OSError as error:  # a full disk, a store out of reach
            raise store_error(error, block["id"]) from error
        finally:
            path.unlink(missing_ok=True)
        shape = contract.shape
        return Done(
            columns={
                "shard": name,
                "split": block["split"],
                "index": block["index"],
                "rows": len(block["members"]),
                "marks": marks(block["members"]),
                "bytes": size,
                "sha256": digest,
                "shape": [shape.views, shape.gaussians, shape.sh_coefficients],
                "float_type": shape.float_type,
                **counts,
                **({"contract": self.contract_mark} if self.contract_mark else {}),
            }
        )

    def _read(self, block: Row, context: Context) -> Iterator[Row]:
        """A block's rows, with Gaussians as they were fitted."""
        for member in block["members"]:
            yield _row(member, self.stages, context)

    def _write(self, path: Path, entries: Iterator[Row]) -> dataset.Contract:
        """Write the shard, holding one row group at a time."""
        import pyarrow.parquet as parquet

        contract = writer = None
        rows, waiting = [], 0
        try:
            for row in entries:
                if contract is None:
                    shape = dataset.Shape(len(row["views"]), self.gaussians, row["sh"].shape[1], self.float_type)
                    contract = self.contract(shape)
                    settings = contract.writer_settings(self.compression)
                    writer = parquet.ParquetWriter(path, contract.schema(), **settings)
                rows.append(_fitted_to(contract, row))
                waiting += _bytes(rows[-1])
                if waiting >= self.row_group_bytes or len(rows) == self.row_group_rows:
                    writer.write_table(contract.table(rows))
                    rows, waiting = [], 0
            if contract is None:
                raise ValueError("a block without members was sent to be packed")
            if rows:
                writer.write_table(contract.table(rows))
        finally:
            if writer is not None:
                writer.close()  # after an exception too it looks valid; the caller then throws it away
        return contract


def marks(members: list[Row]) -> str:
    """Which rows are in a block, and with what content, in short: the driver holds it for every row."""
    named = (f"{member['keys']['ingest']} {member['id']}" for member in members)
    return " ".join(hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in named)


def _row(member: Row, stages: Sequence[RowStage], context: Context) -> Row:
    """What the source list says of a row, and on top of it what each stage gave."""
    keys = {name: key for name, key in member["keys"].items() if key}
    carried = {name: _json_value(value) for name, value in member.items() if name not in _OWN_COLUMNS}
    row: Row = {
        "id": member["id"],
        **{name: _text(member.get(name)) for name in ("group", "category", "source", "licence")},
        "warnings": [],
        "keys": {stage.name: member["keys"].get(stage.name) for stage in stages},
        "metadata": _text(json.dumps(carried, sort_keys=True, ensure_ascii=False, default=str)),
    }
    for stage in stages:
        if stage.name in keys:
            outcome = _outcome(member, stage.name, keys[stage.name], context)
            row |= stage.kind.entry(outcome, _reader(member, stage, outcome, context), row)
            row["warnings"] += outcome.get("warnings", [])
        elif stage.required:
            raise StageError("missing_key", f"{member['id']}: no key of {stage.name} among {sorted(member['keys'])}")
        else:
            row |= {column.name: column.missing for column in stage.kind.columns}
    row["warnings"] = list(dict.fromkeys(row["warnings"]))  # a stage repeats what an earlier one said
    row["licence"] = _text(row["licence"])
    return row


def _reader(member: Row, stage: RowStage, outcome: Row, context: Context) -> ReadArtifact:
    return lambda parse: _artifact(member, stage.name, outcome[stage.kind.artifact], parse, context)


def _outcome(member: Row, stage: str, key: str, context: Context) -> Row:
    columns = context.outcomes.find(stage, key)
    if columns is None:
        detail = f"{member['id']}: the outcome of {stage} under {key} is gone; it will be worked again"
        raise StageError(MISSING_INPUT, detail, transient=True)
    return columns


def _artifact(member: Row, stage: str, name: str, parse: Any, context: Context) -> Any:
    try:
        return parse(context.store.read(name))
    except FileNotFoundError as error:
        raise StageError(MISSING_INPUT, f"{member['id']}: {name} is gone", transient=True) from error
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        context.outcomes.withdraw(stage, member["keys"][stage])  # damaged is as good as gone: it is made again
        raise StageError(MISSING_INPUT, f"{member['id']}: {name} cannot be read: {error}", transient=True) from error


def _text(value: Any) -> str | None:
    if _json_value(value) is None:
        return None
    return str(value).encode("utf-8", "backslashreplace").decode()  # a file name may hold bytes that are no UTF-8


def _json_value(value: Any) -> Any:
    """JSON has no NaN, which is how some source lists spell an empty field."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fitted_to(contract: dataset.Contract, row: Row) -> Row:
    """The row as its shard holds it: the first Gaussians, padded to the shape's number and in its float type."""
    shape, row_id = contract.shape, row["id"]
    if len(row["views"]) != shape.views or len(row["depth"]) != shape.views:
        counts = f"{len(row['views'])} views and {len(row['depth'])} depths"
        raise StageError("mixed_views", f"{row_id} has {counts}, its block {shape.views} of each")
    if row["sh"].shape[1] != shape.sh_coefficients:
        counts = f"{row['sh'].shape[1]} SH coefficients a Gaussian"
        raise StageError("mixed_gaussians", f"{row_id} has {counts}, its block {shape.sh_coefficients}")
    count = min(row["gaussian_count"], shape.gaussians)
    padded = {
        column.name: _padded(row[column.name][:count], column.padding, shape)
        for column in contract.columns
        if column.padding is not None
    }
    for name, values in padded.items():
        if not np.isfinite(values).all():
            raise StageError("not_finite", f"{row_id}: {name} of its splat is not finite in {shape.float_type}")
    return row | {"gaussian_count": count} | padded


def _padded(real: np.ndarray, padding: Any, shape: dataset.Shape) -> np.ndarray:
    values = np.empty((shape.gaussians, *real.shape[1:]), shape.float_type)
    with np.errstate(over="ignore"):  # the caller looks for what became infinite
        values[: len(real)] = real
    values[len(real) :] = padding
    return values


def _counted(entries: Iterable[Row], counts: dict[str, dict[str, Any]]) -> Iterator[Row]:
    """Pass rows on, and count what index and card list."""
    for row in entries:
        for column, into in (("category", counts["categories"]), ("licence", counts["licences"])):
            name = row[column] or ""
            into[name] = into.get(name, 0) + 1
        weak.count(counts["scores"], row["captions"])
        yield row


def _bytes(row: Row) -> int:
    pictures = sum(len(png) for name in ("views", "depth") for png in row[name])
    return pictures + sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))


def _validate(path: Path, contract: dataset.Contract, rows: int) -> None:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        if file.metadata.num_rows != rows:
            raise OSError(f"the shard just written has {file.metadata.num_rows} rows of {rows}")
        written, meant = file.schema_arrow, contract.schema()
        if written != meant or written.metadata != meant.metadata:  # Parquet has its own names for items of lists
            raise OSError("the shard just written has other columns than the contract")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

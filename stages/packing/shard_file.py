"""Write rows into the Parquet file of a shard, and read back that it is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from manifests import dataset
from stages.contract.stage import Row

if TYPE_CHECKING:
    import pyarrow.parquet as parquet


class ShardFile:
    """A shard that is being written; it holds one row group at a time."""

    def __init__(
        self, path: Path, contract: dataset.Contract, compression: str, group_bytes: int, group_rows: int | None
    ):
        import pyarrow.parquet as parquet

        self._contract = contract
        self._group_bytes, self._group_rows = group_bytes, group_rows
        settings = contract.writer_settings(compression)
        self._writer: parquet.ParquetWriter = parquet.ParquetWriter(path, contract.schema(), **settings)
        self._rows: list[Row] = []
        self._bytes = 0

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._rows.append(row)
            self._bytes += _bytes(row)
            if self._bytes >= self._group_bytes or len(self._rows) == self._group_rows:
                self._close_group()

    def _close_group(self) -> None:
        self._writer.write_table(self._contract.table(self._rows))
        self._rows, self._bytes = [], 0

    def __enter__(self) -> ShardFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._rows and error is None:
                self._close_group()
        finally:
            self._writer.close()  # after an exception too the file looks valid; the caller then deletes it


def _bytes(row: Row) -> int:
    pictures = sum(len(png) for name in ("views", "depth") for png in row[name])
    return pictures + sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))


def validate(path: Path, contract: dataset.Contract, rows: int) -> None:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        if file.metadata.num_rows != rows:
            raise OSError(f"the shard just written has {file.metadata.num_rows} rows of {rows}")
        written, meant = file.schema_arrow, contract.schema()
        if written != meant or written.metadata != meant.metadata:  # Parquet has its own names for items of lists
            raise OSError("the shard just written has other columns than the contract")


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

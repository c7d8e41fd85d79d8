"""Open a dataset, check its index against its shards, and read row groups from them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from manifests import dataset as contract
from manifests.addresses import open_files
from manifests.store import LocalStore, Store, open_store
from manifests.text import message
from stages.clip_gs.data.columns import VECTORS, unusable, vectors, without
from stages.common.prefetch import prefetch

logger = logging.getLogger(__name__)

_FOOTERS_AT_ONCE = 8  # an object store answers each in a hundredth of a second or more


class DatasetError(Exception):
    """A dataset cannot be used. The message is one line that says why."""


@dataclass(frozen=True)
class Group:
    """A row group of a shard. It is read as a whole."""

    shard: str
    number: int
    rows: int


class Dataset:
    """Created by `open`. It keeps no file open, and several threads may read from it."""

    def __init__(self, place: str, store: Store, folder: str, index: dict[str, Any]):
        self.place = place
        self.index = index
        self._store = store
        self._folder = folder  # of the index within the store, with its slash
        self._groups: dict[str, list[Group]] = {}

    @staticmethod
    def open(place: str) -> Dataset:
        """Open the dataset at the path or URI of a run, or of the dataset's own folder."""
        store = open_store(place)
        for folder in (f"{contract.FOLDER}/", ""):
            name = f"{folder}{contract.INDEX.removeprefix(f'{contract.FOLDER}/')}"
            try:
                text = store.read(name)
            except FileNotFoundError:
                continue
            except NotADirectoryError:
                raise DatasetError(f"{place}: is a file; pass the folder of a run or of a dataset") from None
            except OSError as error:
                raise DatasetError(f"{place}: {name} cannot be read: {_brief(error)}") from error
            opened = Dataset(place, store, folder, _index(f"{store.root}/{name}", text))
            opened._check_sizes()
            return opened
        raise DatasetError(f"{place}: no dataset there ({contract.INDEX} is missing); `build` makes one")

    @cached_property
    def shape(self) -> contract.Shape:
        return contract.Shape(**self.index["shape"])

    @property
    def splits(self) -> dict[str, int]:
        """Rows of each split."""
        return self.index["rows"]

    @property
    def weak_below(self) -> dict[str, float]:
        """By kind of caption the score below which it is weak (manifests/weak.py)."""
        return self.index.get("weak_captions", {}).get("below", {})

    @cached_property
    def identity(self) -> str:
        """A hash of the shards."""
        shards = [[shard["shard"], shard["sha256"]] for shard in self.index["shards"]]
        return hashlib.blake2b(json.dumps(shards).encode(), digest_size=16).hexdigest()

    @property
    def teacher(self) -> str | None:
        return self._taught[0]

    @property
    def dimension(self) -> int:
        """Of the teacher's vectors."""
        self.require_vectors()
        return self._taught[1]

    def require_vectors(self) -> None:
        if self.teacher is None:
            raise DatasetError(
                f"{self.place}: no row has vectors of a teacher (view_vectors, caption_vectors); "
                "build the dataset with one: --embed.model PATH"
            )

    @cached_property
    def _taught(self) -> tuple[str | None, int]:
        """The teacher and its dimension, from the first row that has vectors of views and captions."""
        for split in self.splits:
            for group in self.groups(split):
                table = self.read(group, ("teacher", *VECTORS))
                rows = zip(table["teacher"].to_pylist(), *(vectors(table, name) for name in VECTORS), strict=True)
                for teacher, views, captions in rows:
                    if teacher is not None and len(views) and len(captions):
                        return teacher, views.shape[1]
        return None, 0

    def groups(self, split: str) -> list[Group]:
        """A split's row groups in stored order."""
        if split not in self.splits:
            there = ", ".join(f"{name} ({rows} rows)" for name, rows in self.splits.items())
            raise DatasetError(f"{self.place} has no split {split!r}; it has {there}")
        if split not in self._groups:
            shards = [shard for shard in self.index["shards"] if shard["split"] == split]
            found = prefetch(self._groups_of, shards, _FOOTERS_AT_ONCE)
            self._groups[split] = [group for groups in found for group in groups]
        return self._groups[split]

    def _groups_of(self, shard: dict[str, Any]) -> list[Group]:
        name = shard["shard"]
        with self._opened(name) as file:
            counts = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        if sum(counts) != shard["rows"]:
            raise DatasetError(f"{self.path(name)} has {sum(counts)} rows, but index.json lists {shard['rows']}")
        return [Group(name, number, rows) for number, rows in enumerate(counts)]

    def read(self, group: Group, columns: Sequence[str]) -> pa.Table:
        """Read columns of a row group; a part of a nested column is named like `captions.list.element.text`."""
        with self._opened(group.shard) as file:
            table = file.read_row_group(group.number, columns=list(columns), use_threads=False)
        if missing := {name.split(".")[0] for name in columns} - set(table.column_names):
            raise DatasetError(f"{self.path(group.shard)} has no column {min(missing)!r}")
        return table

    def rows(self, split: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of a split in stored order, one row group at a time.

        Rows with values that cannot be used in these columns are left out with a warning.
        """
        groups = self.groups(split)
        named = ["id", *(name for name in columns if name != "id")]
        for group, table in zip(groups, prefetch(lambda group: self.read(group, named), groups, 2), strict=True):
            usable = self._usable(group, table)
            if len(usable):
                yield usable if "id" in columns else usable.drop_columns(["id"])

    def _usable(self, group: Group, table: pa.Table) -> pa.Table:
        reasons = unusable(table)
        if not reasons:
            return table
        self.refuse_damage(group.shard)
        warn_of({table["id"][row].as_py(): reason for row, reason in reasons.items()})
        return without(table, reasons)

    def refuse_damage(self, shard: str) -> None:
        """Raise DatasetError if the shard's hash is not the one in index.json: invalid numbers may come from damage."""
        if self._is_damaged(shard):
            raise DatasetError(f"{self.path(shard)} is damaged: {_DAMAGED}")

    def path(self, shard: str) -> str:
        return f"{self._store.root}/{self._folder}{shard}"

    def _check_sizes(self) -> None:
        """Find missing and truncated shards with one listing, before any work starts."""
        try:
            sizes = self._store.list(f"{self._folder}{contract.DATA.removeprefix(f'{contract.FOLDER}/')}")
        except OSError as error:
            raise DatasetError(f"{self.place}: its shards cannot be listed: {_brief(error)}") from error
        for shard in self.index["shards"]:
            size = sizes.get(f"{self._folder}{shard['shard']}")
            if size is None:
                raise DatasetError(
                    f"{self.path(shard['shard'])} is missing, but index.json lists it: run the build again"
                )
            if size != shard["bytes"]:
                raise DatasetError(
                    f"{self.path(shard['shard'])} has {size:,} bytes, but index.json lists {shard['bytes']:,}: "
                    "fetch it again, or remove it and run the build again"
                )

    @contextmanager
    def _opened(self, shard: str) -> Iterator[parquet.ParquetFile]:
        """Open a shard; turn whatever pyarrow or fsspec raises into a DatasetError that names the shard."""
        try:
            with self._source(shard) as source, parquet.ParquetFile(source, pre_buffer=True) as file:
                yield file
        except Exception as error:
            verdict = _DAMAGED if self._is_damaged(shard) else _brief(error)
            raise DatasetError(f"{self.path(shard)} cannot be read: {verdict}") from error

    def _source(self, shard: str) -> Any:
        path = self.path(shard)
        if isinstance(self._store, LocalStore):
            return pa.OSFile(path)
        # Only the columns asked for pass the network: pyarrow puts their ranges together, so no cache is of use.
        files, name = open_files(path)
        return files.open(name, "rb", cache_type="none")

    def _is_damaged(self, shard: str) -> bool:
        expected = next(entry["sha256"] for entry in self.index["shards"] if entry["shard"] == shard)
        try:
            return hashlib.sha256(self._store.read(f"{self._folder}{shard}")).hexdigest() != expected
        except OSError:
            return False  # gone or out of reach, which is another complaint


_DAMAGED = "its SHA-256 differs from index.json; fetch it again, or remove it and run the build again"


def warn_of(left_out: dict[str, str]) -> None:
    """Log one warning per reason, with the ids of the rows that are left out for it."""
    for reason in sorted(set(left_out.values())):
        ids = [row_id for row_id, why in left_out.items() if why == reason]
        more = ", ..." if len(ids) > 5 else ""
        logger.warning("rows left out: %d, %s: %s%s", len(ids), reason, ", ".join(ids[:5]), more)


def _index(path: str, text: bytes) -> dict[str, Any]:
    try:
        index = json.loads(text)
        version, shards = index["version"], index["shards"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is damaged ({_brief(error)}): run the build again") from error
    if version != contract.VERSION:
        raise DatasetError(f"{path} is of version {version}; expected version {contract.VERSION}")
    if not shards:
        raise DatasetError(f"{path} lists no shards: the build has not packed any rows yet")
    return index


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {message(error, 200)}"

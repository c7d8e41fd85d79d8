"""Read list files (.jsonl, .csv, .parquet) into entries: what a list says of each row, unchecked."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from manifests.addresses import WEB, open_files, scheme_of
from manifests.folders import SourceError
from manifests.web import Web

LIST_ENDINGS = (".jsonl", ".csv", ".parquet")
_DEEPEST = 100  # levels of nesting in a JSON row; Python cannot read or write about a thousand
_MOST_COLUMNS = 1_000
_BATCH = 100  # rows of a Parquet list that are read at once
_SLACK = 1 << 30  # characters that the values of a Parquet list may have whatever the size of the file
_MOST_EXPANDED = 100  # times the size of the file that they may have besides: a few bytes can repeat a value for ever
_LONGEST_LINE = 16 << 20  # characters of a line of a list


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn any exception into a SourceError of one line: every URI scheme raises exceptions of its own."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        problem = getattr(error, "strerror", None) or error or type(error).__name__
        raise SourceError(f"{source}: cannot be read: {problem}") from error


def read_list(source: str, name: str, web: Web) -> Iterator[tuple[str, Any]]:
    """Yield (where, entry) for each entry of a list file. An entry that cannot be read is given as a ValueError.

    source: the address; name: the same without a signature.
    """
    with reading(source), _open_list(source, web) as file:
        if name.lower().endswith(".parquet"):
            yield from _read_parquet(source, file)
        elif name.lower().endswith(".csv"):
            yield from _read_csv(source, _lines(source, file, newline=""))
        else:
            for number, line in enumerate(_lines(source, file, newline="\n"), 1):
                if len(line) > _LONGEST_LINE:
                    yield f"line {number}", ValueError(f"the line has more than {_LONGEST_LINE:,} characters")
                elif line.strip():
                    yield f"line {number}", _parse(line)


def _open_list(source: str, web: Web) -> Any:
    scheme = scheme_of(source)
    if scheme in WEB:
        return web.open(source)
    if scheme:
        files, path = open_files(source)
        return files.open(path, "rb")
    path = os.path.expanduser(source)
    if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for ever
        raise SourceError(f"{source}: not a regular file; pass a list file ({', '.join(LIST_ENDINGS)})")
    return open(path, "rb")


def _lines(source: str, file: BinaryIO, newline: str) -> Iterator[str]:
    """The lines of a list, as they are needed. Of one longer than _LONGEST_LINE, little more than that is given."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)
    number = 0
    try:
        while line := text.readline(_LONGEST_LINE + 1):
            number += 1
            yield line
            while len(line) > _LONGEST_LINE and not line.endswith("\n"):
                line = text.readline(_LONGEST_LINE + 1)
    except UnicodeDecodeError as error:
        raise SourceError(f"{source}: not UTF-8 text after line {number}: {error.reason}") from error


def _parse(line: str) -> Any:
    try:
        entry = json.loads(line)
        if _depth(entry) <= _DEEPEST:
            return entry
    except RecursionError:
        pass
    except ValueError as error:
        return ValueError(f"not JSON: {error}")
    return ValueError(f"JSON nested more than {_DEEPEST} levels deep")


def _depth(value: Any) -> int:
    """How many levels of lists and objects are nested; 0 for a plain value."""
    depth, layer = 0, [value]
    while layer := [inner for outer in layer for inner in _items(outer)]:
        depth += 1
    return depth


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _read_csv(source: str, text: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Read CSV strictly: else an unclosed quote would swallow the rows after it."""
    lines = csv.reader(text, skipinitialspace=True, strict=True)
    names: list[str] = []
    number = 0
    while True:
        line = lines.line_num + 1
        try:
            fields: Any = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            if not names or lines.line_num > line:  # the rows after it cannot be told apart
                raise SourceError(
                    f"{source}: not CSV from line {line} on: {error}; look for a quote that is not closed"
                ) from error
            fields = ValueError(f"not CSV: {error}; write a quote inside quotes twice")
        if not fields:  # an empty line
            continue
        if not names:
            names = fields
            _check_columns(source, len(names))
            continue
        number += 1
        if isinstance(fields, list) and len(fields) > len(names):
            fields = ValueError(f"{len(fields) - len(names)} more fields than the header has")
        yield f"row {number}", dict(zip(names, fields, strict=False)) if isinstance(fields, list) else fields


def _check_columns(source: str, count: int) -> None:
    if count > _MOST_COLUMNS:
        raise SourceError(f"{source}: {count:,} columns; at most {_MOST_COLUMNS:,} are read")


def _read_parquet(source: str, file: BinaryIO) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = file if file.seekable() else io.BytesIO(file.read())
        allowed = _SLACK + _MOST_EXPANDED * file.seek(0, os.SEEK_END)
        table = pq.ParquetFile(file)
        _check_columns(source, table.metadata.num_columns)
        entries = itertools.chain.from_iterable(map(_to_entries, table.iter_batches(_BATCH, use_threads=False)))
        for number, entry in enumerate(entries, 1):
            allowed -= len(str(entry))
            if allowed < 0:
                raise SourceError(f"{source}: its values take more than {_MOST_EXPANDED} times the size of the file")
            yield f"row {number}", entry
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{source}: not a Parquet file: {error}") from error


def _to_entries(batch: Any) -> list[Any]:
    """The rows of a record batch. A row that Python cannot represent, such as broken UTF-8, becomes a ValueError."""
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return [ValueError(f"cannot be read: {error}")]
        half = batch.num_rows // 2
        return _to_entries(batch.slice(0, half)) + _to_entries(batch.slice(half))

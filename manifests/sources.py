"""Read a source, which is a folder, a glob, one mesh or a list file, into rows.

Every row has an `id` and a `uri`. A row that cannot be used keeps its place and has `problem` and `problem_detail`, so
that it fails with a reason and the other rows are not affected.
"""

from __future__ import annotations

import csv
import glob
import io
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, cast
from urllib.parse import urlsplit

from manifests.folders import SourceError, find
from manifests.store import is_uri

LIST_ENDINGS = (".jsonl", ".csv", ".parquet")
COLUMNS = ("id", "uri", "group", "category", "source", "licence", "caption", "name", "tags", "split", "up")
ALIASES = {"path": "uri", "license": "licence"}
_DEEPEST = 100  # levels of nesting in a JSON row; Python cannot read or write about a thousand


class SourceRow(TypedDict, total=False):
    """A row of a source. `id` and `uri` are always there; the columns of COLUMNS where they are given."""

    id: str
    uri: str
    group: str
    category: str
    source: str
    licence: str
    caption: str
    name: str
    tags: list[str]
    split: str
    up: str
    extra: dict[str, Any]  # the source list's other columns
    problem: str  # the reason why the row cannot be used
    problem_detail: str


def read_source(source: str, endings: tuple[str, ...]) -> list[SourceRow]:
    """The rows of a source, in a fixed order. endings: of the names of mesh files, in lower case."""
    source = source.removeprefix("file://")  # local files are named by path, so that changes to them are seen
    if source.lower().endswith(LIST_ENDINGS):
        rows = [_to_row(where, entry, source) for where, entry in _read_list(source)]
    else:
        base, uris = _find_meshes(source, endings)
        rows = [_found_row(uri, base) for uri in uris]
    if not rows:
        raise SourceError(f"{source}: no mesh found; mesh files end in {', '.join(endings)}")
    _mark_duplicate_ids(rows)
    return rows


def _mark_duplicate_ids(rows: list[SourceRow]) -> None:
    given_ids = {row["id"] for row in rows}
    seen: Counter[str] = Counter()
    for row in rows:
        given = row["id"]
        seen[given] += 1
        if seen[given] > 1:
            while (name := f"{given}#{seen[given]}") in given_ids:
                seen[given] += 1
            row["id"] = name
            row["problem"] = "duplicate_id"
            row["problem_detail"] = f"id {given!r} is used by an earlier row; give every row its own id"


def _found_row(uri: str, base: str) -> SourceRow:
    name = _relative(uri, base)
    shown = name.encode(errors="backslashreplace").decode()
    row: SourceRow = {"id": shown, "uri": uri, "source": shown}
    if shown == name:
        return row
    return _problem(shown, "the file name is not UTF-8; rename the file") | {"source": shown}


def _relative(uri: str, base: str) -> str:
    return uri[len(base) :].lstrip("/") if base and uri.startswith(base) else uri


def _find_meshes(source: str, endings: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the folder that ids are relative to, and the URIs of the meshes."""
    if is_uri(source):
        return _find_remote_meshes(source, endings)
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        return str(path), sorted(find(str(path), ("**", "*"), endings, hidden=True))
    if path.exists():
        if not source.lower().endswith(endings):
            raise SourceError(
                f"{source}: neither a mesh file ({', '.join(endings)}) nor a list file ({', '.join(LIST_ENDINGS)})"
            )
        return str(path.parent), [str(path)]
    if glob.has_magic(source):
        fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1]))
        parts = path.parts[len(fixed) :]
        base = str(Path(*fixed))
        return base, sorted(set(find(base, (*parts, "*") if parts[-1] == "**" else parts, endings, hidden=False)))
    raise SourceError(
        f"{source}: does not exist; pass a folder, a glob, a mesh, or a list file ({', '.join(LIST_ENDINGS)})"
    )


def _find_remote_meshes(source: str, endings: tuple[str, ...]) -> tuple[str, list[str]]:
    import fsspec

    if source.lower().endswith(endings) and not glob.has_magic(source):
        return source.rsplit("/", 1)[0], [source]
    with _reading(source):
        scheme = urlsplit(source).scheme
        if scheme in ("http", "https"):
            raise SourceError(f"{source}: meshes behind HTTP cannot be listed; pass a list file that names them")
        files = fsspec.filesystem(scheme)
        found = files.glob(source) if glob.has_magic(source) else files.find(source)
    base = source[: source.index("*")].rsplit("/", 1)[0] if "*" in source else source.rstrip("/")
    return base, sorted(files.unstrip_protocol(name) for name in found if name.lower().endswith(endings))


@contextmanager
def _reading(source: str) -> Iterator[None]:
    """Turn any exception into a SourceError of one line: every URI scheme raises exceptions of its own."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        message = " ".join(str(error).split())[:300] or type(error).__name__
        raise SourceError(f"{source}: cannot be read: {message}") from error


def _read_list(source: str) -> Iterator[tuple[str, Any]]:
    """Yield (where, entry) for each entry of a list file. An entry that cannot be read is given as a ValueError."""
    import fsspec

    with _reading(source), fsspec.open(source, "rb") as file:
        data = file.read()
    if source.lower().endswith(".parquet"):
        yield from _read_parquet(source, data)
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{source}: not UTF-8 text: {error}") from error
    if source.lower().endswith(".csv"):
        yield from _read_csv(source, text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", _parse(line)


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


def _read_csv(source: str, text: str) -> Iterator[tuple[str, Any]]:
    """Read CSV strictly: else an unclosed quote would swallow the rows after it."""
    lines = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
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
            continue
        number += 1
        if isinstance(fields, list) and len(fields) > len(names):
            fields = ValueError(f"{len(fields) - len(names)} more fields than the header has")
        yield f"row {number}", dict(zip(names, fields, strict=False)) if isinstance(fields, list) else fields


def _read_parquet(source: str, data: bytes) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{source}: not a Parquet file: {error}") from error
    entries = itertools.chain.from_iterable(map(_to_entries, table.to_batches(max_chunksize=10_000)))
    for number, entry in enumerate(entries, 1):
        yield f"row {number}", entry


def _to_entries(batch: Any) -> list[Any]:
    """The rows of a record batch. A row that Python cannot represent, such as broken UTF-8, becomes a ValueError."""
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return [ValueError(f"cannot be read: {error}")]
        half = batch.num_rows // 2
        return _to_entries(batch.slice(0, half)) + _to_entries(batch.slice(half))


def _to_row(where: str, entry: Any, source: str) -> SourceRow:
    if not isinstance(entry, dict):
        return _problem(where, str(entry) if isinstance(entry, ValueError) else "not an object with named fields")
    found: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in entry.items():
        column = ALIASES.get(name, name)
        if value is None or value == "" or value != value:  # some lists write NaN for an empty field
            continue
        if column in COLUMNS:
            found.setdefault(column, value)
        else:
            extra[name] = value
    name = _clean(str(found.get("id", ""))) or where
    if "uri" not in found:
        return _problem(name, "no uri or path; name the mesh file in one of these columns")
    given = str(found["uri"])
    if _clean(given) != given:
        return _problem(name, "the file name is not UTF-8; rename the file")
    tags = found.pop("tags", None)
    texts = {column: text for column, value in found.items() if (text := _clean(str(value)))}
    row = cast(SourceRow, {"source": given, "id": given} | texts | {"uri": resolve_uri(given, source)})
    if not isinstance(tags, str | list | None):
        detail = f"tags is {tags!r:.100}, expected a list of words, or words separated by commas or |"
        return {**row, "problem": "bad_row", "problem_detail": detail}
    if tags is not None:
        row["tags"] = _to_tags(tags)
    if row.get("up", "y") not in ("y", "z"):
        return {**row, "problem": "bad_row", "problem_detail": f"up is {row['up']!r}, expected 'y' or 'z'"}
    if not re.fullmatch(r"\w+", row.get("split", "train")):
        detail = f"split is {row['split']!r}, expected only letters, digits and underscores"
        return {**row, "problem": "bad_row", "problem_detail": detail}
    if extra:
        row["extra"] = _clean(extra)
    return row


def _to_tags(given: str | list[Any]) -> list[str]:
    if isinstance(given, str):
        given = given.split("|" if "|" in given else ",")
    tags = [_clean(str(tag)).strip() for tag in given]
    return [tag for tag in tags if tag]


def _clean(value: Any) -> Any:
    """Remove halves of surrogate pairs, which remain where a text was cut inside an emoji: UTF-8 cannot encode them."""
    if isinstance(value, str):
        return value.encode(errors="ignore").decode()
    if isinstance(value, dict):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


def _problem(name: str, detail: str) -> SourceRow:
    return {"id": name, "uri": "", "problem": "bad_row", "problem_detail": detail}


def resolve_uri(given: str, source: str) -> str:
    """Make a mesh's path absolute; a relative path is relative to the list file."""
    if is_uri(given) or given.startswith("/"):
        return given.removeprefix("file://")
    if is_uri(source):
        return f"{source.rsplit('/', 1)[0]}/{given}"
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(os.path.expanduser(source))), given))

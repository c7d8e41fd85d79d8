"""The source list: a folder, a glob, one mesh, or a list file, read into rows.

Every row has an `id` and a `uri`. A row that cannot be used keeps its place and carries `problem` and `problem_detail`,
so that it fails with its reason and no other row is lost.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manifests.store import is_uri

MESH_ENDINGS = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
LIST_ENDINGS = (".jsonl", ".csv", ".parquet")
COLUMNS = ("id", "uri", "group", "category", "source", "licence", "caption", "name", "tags", "split", "up")
ALIASES = {"path": "uri", "license": "licence"}


class SourceError(Exception):
    """The source as a whole cannot be read."""


def read_source(source: str) -> list[dict[str, Any]]:
    """The rows of a source, in a fixed order."""
    if source.lower().endswith(LIST_ENDINGS):
        rows = [_to_row(place, told, source) for place, told in _read_list(source)]
    else:
        base, uris = _find_meshes(source)
        rows = [_found_row(uri, base) for uri in uris]
    if not rows:
        raise SourceError(f"{source}: no mesh in it; meshes end in {', '.join(MESH_ENDINGS)}")
    _mark_duplicate_ids(rows)
    return rows


def _mark_duplicate_ids(rows: list[dict[str, Any]]) -> None:
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
            row["problem_detail"] = f"id {given!r} is taken by an earlier row; give every row an id of its own"


def _found_row(uri: str, base: str) -> dict[str, Any]:
    name = _relative(uri, base)
    shown = name.encode(errors="backslashreplace").decode()
    row = {"id": shown, "uri": uri, "source": shown}
    if shown == name:
        return row
    return _problem(shown, "the file's name is not UTF-8; rename it") | {"source": shown}


def _relative(uri: str, base: str) -> str:
    return uri[len(base) :].lstrip("/") if base and uri.startswith(base) else uri


def _find_meshes(source: str) -> tuple[str, list[str]]:
    """The folder that ids are relative to, and the URIs of the meshes."""
    if is_uri(source):
        return _find_remote_meshes(source)
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        found = [
            os.path.join(parent, name)
            for parent, _, names in os.walk(path, followlinks=True)
            for name in names
            if name.lower().endswith(MESH_ENDINGS)
        ]
        return str(path), sorted(found)
    if path.exists():
        if not source.lower().endswith(MESH_ENDINGS):
            raise SourceError(
                f"{source}: neither a mesh ({', '.join(MESH_ENDINGS)}) nor a list ({', '.join(LIST_ENDINGS)})"
            )
        return str(path.parent), [str(path)]
    if glob.has_magic(source):
        found = sorted(file for file in glob.glob(str(path), recursive=True) if file.lower().endswith(MESH_ENDINGS))
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
        return str(Path(*fixed)), found
    raise SourceError(f"{source}: not there; name a folder, a glob, a mesh, or a list ({', '.join(LIST_ENDINGS)})")


def _find_remote_meshes(source: str) -> tuple[str, list[str]]:
    import fsspec

    scheme = urlsplit(source).scheme
    if source.lower().endswith(MESH_ENDINGS) and not glob.has_magic(source):
        return source.rsplit("/", 1)[0], [source]
    if scheme in ("http", "https"):
        raise SourceError(f"{source}: a web address has no listing; name the meshes in a list file")
    files = fsspec.filesystem(scheme)
    found = files.glob(source) if glob.has_magic(source) else files.find(source)
    base = source[: source.index("*")].rsplit("/", 1)[0] if "*" in source else source.rstrip("/")
    return base, sorted(files.unstrip_protocol(name) for name in found if name.lower().endswith(MESH_ENDINGS))


def _read_list(source: str) -> Iterator[tuple[str, Any]]:
    """(where it stands, what it says) of every entry of a list file."""
    import fsspec

    try:
        with fsspec.open(source, "rb") as file:
            data = file.read()
    except (OSError, ImportError) as error:
        raise SourceError(f"{source}: cannot be read: {error}") from error
    if source.lower().endswith(".parquet"):
        yield from _read_parquet(source, data)
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{source}: not UTF-8 text: {error}") from error
    if source.lower().endswith(".csv"):
        for number, told in enumerate(csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True), 2):
            extra = told.pop(None, None)
            yield f"row {number - 1}", told if extra is None else f"{len(extra)} more fields than the header has"
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except ValueError as error:
                yield f"line {number}", f"not JSON: {error}"


def _read_parquet(source: str, data: bytes) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except pa.ArrowException as error:
        raise SourceError(f"{source}: not a Parquet file: {error}") from error
    for batch in table.to_batches(max_chunksize=10_000):
        for number, told in enumerate(batch.to_pylist()):
            yield f"row {number}", told


def _to_row(place: str, told: Any, source: str) -> dict[str, Any]:
    if not isinstance(told, dict):
        return _problem(place, told if isinstance(told, str) else "not an object with named fields")
    row: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in told.items():
        column = ALIASES.get(name, name)
        if value is None or value == "" or value != value:  # NaN is how some lists spell an empty field
            continue
        if column in COLUMNS:
            row.setdefault(column, value)
        else:
            extra[name] = value
    if "uri" not in row:
        return _problem(str(row.get("id") or place), "no uri or path: name the mesh file in one of these columns")
    given = str(row["uri"])
    row = {name: value if name == "tags" else str(value) for name, value in row.items()}
    row["uri"] = resolve_uri(given, source)
    row["id"] = row.get("id", given)
    row.setdefault("source", given)
    if "tags" in row:
        row["tags"] = _to_tags(row["tags"])
    if row.get("up", "y") not in ("y", "z"):
        return {**row, "problem": "bad_row", "problem_detail": f"up is {row['up']!r}; it is 'y' or 'z'"}
    if not re.fullmatch(r"\w+", row.get("split", "train")):
        detail = f"split is {row['split']!r}; letters, digits and underscores make a split's name"
        return {**row, "problem": "bad_row", "problem_detail": detail}
    if extra:
        row["extra"] = extra
    return row


def _to_tags(told: Any) -> list[str]:
    if isinstance(told, str):
        told = told.split("|" if "|" in told else ",")
    return [str(tag).strip() for tag in told if str(tag).strip()]


def _problem(name: str, detail: str) -> dict[str, Any]:
    return {"id": name, "uri": "", "problem": "bad_row", "problem_detail": detail}


def resolve_uri(given: str, source: str) -> str:
    """A mesh's place as seen from anywhere: relative ones are relative to the list that names them."""
    if is_uri(given) or given.startswith("/"):
        return given.removeprefix("file://")
    if is_uri(source):
        return f"{source.rsplit('/', 1)[0]}/{given}"
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(os.path.expanduser(source))), given))

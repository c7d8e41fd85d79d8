"""Read a source, which is a folder, a glob, one mesh or a list file, into rows.

Every row has an `id` and a `uri`. A row that cannot be used keeps its place and has `problem` and `problem_detail`, so
that it fails with a reason and the other rows are not affected.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import itertools
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, cast

from manifests import captions
from manifests.addresses import WEB, AddressError, is_uri, local_path, open_files, row_id, scheme_of, unsigned
from manifests.folders import SourceError, find
from manifests.splits import LONGEST_SPLIT, MOST_SPLITS, is_split_name
from manifests.text import encodable, message, public_address, published, without_queries
from manifests.web import OFFLINE, Web

LIST_ENDINGS = (".jsonl", ".csv", ".parquet")
COLUMNS = ("id", "uri", "group", "category", "source", "licence", "caption", "name", "tags", "split", "up")
ALIASES = {"path": "uri", "license": "licence"}
_DEEPEST = 100  # levels of nesting in a JSON row; Python cannot read or write about a thousand
_MOST_COLUMNS = 1_000
_BATCH = 100  # rows of a Parquet list that are read at once
_SLACK = 1 << 30  # characters that the values of a Parquet list may have whatever the size of the file
_MOST_EXPANDED = 100  # times the size of the file that they may have besides: a few bytes can repeat a value for ever
_LONGEST_LINE = 16 << 20  # characters of a line of a list
_LONGEST_ROW = 1_000_000  # characters of all that a list says of a row; the dataset repeats it in `metadata`
_LONGEST_NAME = 1_000  # characters of a column in _NAMES
_NAMES = ("id", "group", "category", "licence", "up")
# what breaks lines, steers a terminal, or turns the direction of the text after it
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


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


def read_source(source: str, endings: tuple[str, ...], web: Web = OFFLINE) -> list[SourceRow]:
    """The rows of a source, in a fixed order. endings: of the names of mesh files, in lower case."""
    try:
        if of_web := scheme_of(source) in WEB:
            web.check(source)
    except AddressError as error:
        raise SourceError(str(error)) from error
    source = local_path(source)  # local files are named by path, so that changes to them are seen
    name = public_address(source) if of_web else source  # without the query, which may be a signature
    if name.lower().endswith(LIST_ENDINGS):
        rows = [_to_row(where, entry, name) for where, entry in _read_list(source, name, web)]
    elif of_web:
        if not name.lower().endswith(endings):
            raise SourceError(f"{source}: meshes behind HTTP cannot be listed; pass a list file that names them")
        rows = [{**_found_row(name, name.rsplit("/", 1)[0]), "uri": source}]
    else:
        base, uris = _find_meshes(source, endings)
        rows = [_found_row(uri, base) for uri in uris]
    if not rows:
        raise SourceError(f"{source}: no mesh found; mesh files end in {', '.join(endings)}")
    _mark_surplus_splits(rows)
    _mark_duplicate_ids(rows)
    return rows


def _mark_surplus_splits(rows: list[SourceRow]) -> None:
    """Every split has files of its own, and an entry in the card."""
    names: set[str] = set()
    for row in rows:
        if "problem" in row or "split" not in row or row["split"] in names:
            continue
        if len(names) < MOST_SPLITS:
            names.add(row["split"])
            continue
        row["problem"] = "bad_row"
        row["problem_detail"] = f"split is {row['split']!r}, but the list has {MOST_SPLITS} other splits before it"


def _mark_duplicate_ids(rows: list[SourceRow]) -> None:
    given_ids = {row["id"] for row in rows}
    seen: Counter[str] = Counter()
    first: dict[str, str] = {}  # the address of the first row of an id
    for row in rows:
        given = row["id"]
        if "#" in given and unsigned(row["uri"]) != first.setdefault(given, unsigned(row["uri"])):
            longer = row_id(row["uri"], digits=32)
            given = row["id"] = longer if longer.startswith(given) else given  # two queries have equal short hashes
        seen[given] += 1
        if seen[given] > 1:
            while (name := f"{given}#{seen[given]}") in given_ids:
                seen[given] += 1
            row["id"] = name
            row["problem"] = "duplicate_id"
            row["problem_detail"] = f"id {given!r} is used by an earlier row; give every row its own id"


def _found_row(uri: str, base: str) -> SourceRow:
    name = _relative(uri, base)
    row: SourceRow = {"id": name, "uri": uri, "source": name}
    if problem := _problem_of_name(name):
        return {**_problem(name, f"the file name {problem}; rename the file"), "source": _shown(name)}
    return row


def _problem_of_name(name: str) -> str:
    if encodable(name) != name:
        return "is not UTF-8"
    if _CONTROL.search(name):
        return "has control characters"
    return f"has {len(name):,} characters; at most {_LONGEST_NAME:,} are read" if len(name) > _LONGEST_NAME else ""


def _shown(name: str) -> str:
    """A name that can be an id: without control characters, and not too long, yet different for different names."""
    text = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), name)
    text = text.encode(errors="backslashreplace").decode()
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return text if len(text) <= _LONGEST_NAME else f"{text[:80]}…#{digest}"


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
    if source.lower().endswith(endings) and not glob.has_magic(source):
        return source.rsplit("/", 1)[0], [source]
    with _reading(source):
        files, path = open_files(source)
        found = files.glob(path) if glob.has_magic(path) else files.find(path)
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
        raise SourceError(f"{source}: cannot be read: {error or type(error).__name__}") from error


def _read_list(source: str, name: str, web: Web) -> Iterator[tuple[str, Any]]:
    """Yield (where, entry) for each entry of a list file. An entry that cannot be read is given as a ValueError."""
    with _reading(source), _open_list(source, web) as file:
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


def _to_row(where: str, entry: Any, source: str) -> SourceRow:
    if not isinstance(entry, dict):
        return _problem(where, str(entry) if isinstance(entry, ValueError) else "not an object with named fields")
    found: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in entry.items():
        column = ALIASES.get(name, name)
        if _is_empty(value):
            continue
        if column in COLUMNS:
            found.setdefault(column, value)
        elif name not in captions.NAMES:
            extra[name] = value
    own = [entry[name] for name in captions.NAMES if not _is_empty(entry.get(name))]
    name = _given_id(found.pop("id", ""))
    if "uri" not in found:
        return _problem(name or where, "no uri or path; name the mesh file in one of these columns")
    given = str(found.pop("uri"))
    if encodable(given) != given:
        return _problem(name or where, "the file name is not UTF-8; rename the file")
    if "\0" in given:
        return _problem(name or where, "the file name has a null character")
    tags = found.pop("tags", None)
    try:
        found["caption"] = captions.joined(own)
    except ValueError as error:
        return _problem(name or row_id(given), f"caption: {error}; {captions.EXPECTED}")
    texts = {column: text for column, value in found.items() if (text := published(str(value)))}
    texts["source"] = without_queries(texts.get("source", given))
    row = cast(SourceRow, texts | {"id": name or row_id(given), "uri": resolve_uri(given, source)})
    if isinstance(tags, str | list):
        row["tags"] = _to_tags(published(tags))
    if extra:
        row["extra"] = published(extra)
    problem = _problem_of_row(row, tags)
    return _problem(row["id"], problem) if problem else row


def _is_empty(value: Any) -> bool:
    """Whether a field has no value; some lists write NaN for that."""
    return value is None or value == "" or isinstance(value, float) and value != value


def _given_id(value: Any) -> str:
    name = encodable(str(value))
    return name if published(name) == name else row_id(name)


def _problem_of_row(row: SourceRow, tags: Any) -> str:
    """Why the values of a row cannot be used; "" if they can."""
    if problem := _problem_of_name(row["id"]):
        return f"the id {problem}; give the row an id of its own"
    for column, value in row.items():
        if column in _NAMES and len(str(value)) > _LONGEST_NAME:
            return f"{column} has {len(str(value)):,} characters; at most {_LONGEST_NAME:,} are read"
    if not isinstance(tags, str | list | None):
        return f"tags is {tags!r:.100}, expected a list of words, or words separated by commas or |"
    if row.get("up", "y") not in ("y", "z"):
        return f"up is {row['up']!r}, expected 'y' or 'z'"
    if not is_split_name(row.get("split", "train")):
        return (
            f"split is {row['split']!r:.100}, expected only letters, digits and underscores, at most {LONGEST_SPLIT} "
            "bytes, and not `all`, which `datasets` reserves"
        )
    size = len(json.dumps(row, default=str, ensure_ascii=False))
    return f"the row has {size:,} characters; at most {_LONGEST_ROW:,} are read" if size > _LONGEST_ROW else ""


def _to_tags(given: str | list[Any]) -> list[str]:
    if isinstance(given, str):
        given = given.split("|" if "|" in given else ",")
    tags = [encodable(str(tag)).strip() for tag in given]
    return [tag for tag in tags if tag]


def _problem(name: str, detail: str) -> SourceRow:
    return {"id": _shown(name), "uri": "", "problem": "bad_row", "problem_detail": message(detail)}


def resolve_uri(given: str, source: str) -> str:
    """Make a mesh's path absolute; a relative path is relative to the list file. What is not accepted stays as it is.

    Ingest then refuses it.
    """
    try:
        if scheme_of(given) or given.startswith("/"):
            return given
    except AddressError:
        return given
    if is_uri(given):
        return local_path(given)
    if is_uri(source):
        return f"{source.rsplit('/', 1)[0]}/{given}"
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(os.path.expanduser(source))), given))

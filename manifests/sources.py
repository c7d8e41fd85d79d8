"""Read a source, which is a folder, a glob, one mesh, a list file or an archive, into rows.

Every row has an `id` and a `uri`. A row that cannot be used keeps its place and has `problem` and `problem_detail`, so
that it fails with a reason and the other rows are not affected.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, cast

from manifests import captions
from manifests.adapters import adapter_of
from manifests.adapters.adapter import open_layout
from manifests.addresses import WEB, AddressError, is_uri, local_path, open_files, row_id, scheme_of, unsigned
from manifests.archives.address import ENDINGS as ARCHIVE_ENDINGS
from manifests.archives.address import OTHER_ENDINGS, Member, address_of, member_of
from manifests.archives.archive import ArchiveError, open_archive
from manifests.folders import SourceError, find
from manifests.left_out import CONVERT, CONVERTIBLE, left_out
from manifests.list_files import LIST_ENDINGS, read_list, reading
from manifests.splits import LONGEST_SPLIT, MOST_SPLITS, is_split_name
from manifests.text import encodable, message, public_address, published, without_queries
from manifests.web import OFFLINE, Web

COLUMNS = ("id", "uri", "group", "category", "source", "licence", "caption", "name", "tags", "split", "up")
ALIASES = {"path": "uri", "license": "licence"}
UP = ("y", "z", "auto")  # what `up` may be, in any case
_LONGEST_ROW = 1_000_000  # characters of all that a list says of a row; the dataset repeats it in `metadata`
_LONGEST_NAME = 1_000  # characters of a column in _NAMES
_NAMES = ("id", "group", "category", "licence", "up")
_OF_MACOS = re.compile(r"(^|/)(__MACOSX/|\._)")  # what its archiver adds: no mesh, whatever its ending
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
    path: str  # of a row with an absolute path in a list, until its `source` is named by it, and its id if it has none


def read_source(
    source: str, endings: tuple[str, ...], web: Web = OFFLINE, tell: Callable[[str], None] | None = None
) -> list[SourceRow]:
    """The rows of a source, in a fixed order. endings: of the names of mesh files, in lower case.

    tell: called with a sentence about files that are left out.
    """
    if named := adapter_of(source):
        return _checked(_read_layout(*named, endings, tell))
    try:
        if of_web := scheme_of(source) in WEB:
            web.check(source)
    except AddressError as error:
        raise SourceError(str(error)) from error
    source = local_path(source)  # local files are named by path, so that changes to them are seen
    name = public_address(source) if of_web else source  # without the query, which may be a signature
    if name.lower().endswith(LIST_ENDINGS):
        rows = [_to_row(where, entry, name) for where, entry in read_list(source, name, web)]
        _name_by_path(rows, name)
    elif name.lower().endswith((*ARCHIVE_ENDINGS, *OTHER_ENDINGS)) and not os.path.isdir(source):
        rows = _read_archive(source, endings, tell)
    elif of_web:
        if not name.lower().endswith(endings):
            raise SourceError(f"{source}: meshes behind HTTP cannot be listed; pass a list file that names them")
        rows = [{**_found_row(name, name.rsplit("/", 1)[0]), "uri": source}]
    else:
        base, uris, others = _find_meshes(source, endings)
        rows = [_found_row(uri, base) for uri in uris]
        _tell_left_out(source, endings, left_out(uris, others, local=not is_uri(source)), rows, tell)
    if not rows:
        raise SourceError(f"{source}: the list has no rows")
    return _checked(rows)


def _checked(rows: list[SourceRow]) -> list[SourceRow]:
    _mark_surplus_splits(rows)
    _mark_duplicate_ids(rows)
    return rows


def _tell_left_out(
    source: str, endings: tuple[str, ...], skipped: str, rows: list[SourceRow], tell: Callable[[str], None] | None
) -> None:
    if not rows:
        end = f"; {skipped}" if skipped else ""
        raise SourceError(f"{source}: no mesh found; mesh files end in {', '.join(endings)}{end}")
    if skipped and tell:
        tell(message(f"{source}: {skipped}"))


def _read_layout(
    name: str, folder: str, endings: tuple[str, ...], tell: Callable[[str], None] | None
) -> list[SourceRow]:
    """The rows of a published dataset, as its adapter finds them."""
    layout = open_layout(name, folder)
    rows: list[SourceRow] = []
    others: list[str] = []
    for number, entry in enumerate(layout.entries(), 1):
        if entry["uri"].lower().partition("::")[0].endswith(endings):
            rows.append(_to_row(f"object {number}", {key: value for key, value in entry.items() if value}, ""))
        else:
            others.append(entry["uri"])
    _name_by_path(rows, str(layout.root / "objects"))
    _tell_left_out(f"{name}:{folder}", endings, left_out((), others, local=False), rows, tell)
    return rows


def _read_archive(source: str, endings: tuple[str, ...], tell: Callable[[str], None] | None) -> list[SourceRow]:
    """A row for each member with the ending of a mesh. Its companions are members too."""
    if not source.lower().endswith(ARCHIVE_ENDINGS):
        raise SourceError(f"{source}: not an archive that is read, which are {', '.join(ARCHIVE_ENDINGS)}; unpack it")
    if is_uri(source):
        raise SourceError(
            f"{source}: an archive is read from a local disk only; download it, or unpack it in the store"
        )
    path = os.path.abspath(os.path.expanduser(source))
    if "::" in path:
        raise SourceError(f"{source}: the path of an archive cannot have '::'; rename it")
    try:
        archive = open_archive(path)
    except (ArchiveError, OSError) as error:
        raise SourceError(f"{source}: {getattr(error, 'strerror', None) or error}") from error
    names = [name for name in sorted(archive.members) if not _OF_MACOS.search(name)]
    meshes = [name for name in names if name.lower().endswith(endings)]
    rows: list[SourceRow] = [{**_found_row(name, ""), "uri": address_of(Member(name, path))} for name in meshes]
    rows += [
        _problem(name, "the member's name leads out of the archive; pack it under another name")
        for name in sorted(archive.outside)
        if name.lower().endswith(endings)
    ]
    others = [name for name in names if not name.lower().endswith(endings)]
    _tell_left_out(source, endings, left_out(meshes, others, local=False), rows, tell)
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


def _find_meshes(source: str, endings: tuple[str, ...]) -> tuple[str, list[str], list[str]]:
    """Return the folder that ids are relative to, the URIs of the meshes, and a folder's other files."""
    if is_uri(source):
        return _find_remote_meshes(source, endings)
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        others: list[str] = []
        return str(path), sorted(find(str(path), ("**", "*"), endings, hidden=True, others=others)), others
    if path.exists():
        if source.lower().endswith(CONVERTIBLE):
            raise SourceError(f"{source}: not a format that is read; {CONVERT}")
        if not source.lower().endswith(endings):
            kinds = f"a mesh ({', '.join(endings)}), a list ({', '.join(LIST_ENDINGS)}) or an archive"
            raise SourceError(f"{source}: expected {kinds} ({', '.join(ARCHIVE_ENDINGS)}), or a folder")
        return str(path.parent), [str(path)], []
    if glob.has_magic(source):
        fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1]))
        parts = path.parts[len(fixed) :]
        base = str(Path(*fixed))
        return base, sorted(set(find(base, (*parts, "*") if parts[-1] == "**" else parts, endings, hidden=False))), []
    raise SourceError(
        f"{source}: does not exist; pass a folder, a glob, a mesh, a list ({', '.join(LIST_ENDINGS)}) or an archive"
    )


def _find_remote_meshes(source: str, endings: tuple[str, ...]) -> tuple[str, list[str], list[str]]:
    if source.lower().endswith(endings) and not glob.has_magic(source):
        return source.rsplit("/", 1)[0], [source], []
    with reading(source):
        files, path = open_files(source)
        found = files.glob(path) if glob.has_magic(path) else files.find(path)
    base = source[: source.index("*")].rsplit("/", 1)[0] if "*" in source else source.rstrip("/")
    meshes = sorted(files.unstrip_protocol(name) for name in found if name.lower().endswith(endings))
    others = [] if glob.has_magic(path) else [name for name in found if not name.lower().endswith(endings)]
    return base, meshes, [files.unstrip_protocol(name) for name in others]


def _columns(entry: dict[str, Any]) -> str:
    names = list(map(str, entry))
    separator = next((sign for sign in ";\t|" if len(names) == 1 and sign in names[0]), "")
    return (
        f"; the list is separated by {separator!r}, expected commas" if separator else f", not {', '.join(names)[:200]}"
    )


def _to_row(where: str, entry: Any, source: str) -> SourceRow:
    if not isinstance(entry, dict):
        return _problem(where, str(entry) if isinstance(entry, ValueError) else "not an object with named fields")
    found, extra, own = _sorted_fields(entry)
    name = _given_id(found.pop("id", ""))
    if "uri" not in found:
        return _problem(name or where, f"no uri or path; name the mesh file in one of these columns{_columns(entry)}")
    given = str(found.pop("uri"))
    if encodable(given) != given:
        return _problem(name or where, "the file name is not UTF-8; rename the file")
    if "\0" in given:
        return _problem(name or where, "the file name has a null character")
    uri = resolve_uri(given, source)
    path = _machine_path(given, uri)
    name = name if name or path else row_id(given)
    tags = found.pop("tags", None)
    try:
        found["caption"] = captions.joined(own)
    except ValueError as error:
        return _problem(name, f"caption: {error}; {captions.EXPECTED}", path)
    texts = {column: text for column, value in found.items() if (text := _text_of(column, value))}
    if "source" in texts or not path:
        texts["source"] = without_queries(texts.get("source", given))
    row = cast(SourceRow, texts | {"id": name, "uri": uri})
    if isinstance(tags, str | list):
        row["tags"] = _to_tags(published(tags))
    if extra:
        row["extra"] = published(extra)
    if problem := _problem_of_row(row, tags):
        return _problem(name, problem, path)
    return {**row, "path": path} if path else row


def _sorted_fields(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """The values of an entry that are not empty: those of known columns, other ones, and captions."""
    given = {name: value for name, value in entry.items() if not _is_empty(value)}
    found: dict[str, Any] = {}
    for name, value in given.items():
        if ALIASES.get(name, name) in COLUMNS:
            found.setdefault(ALIASES.get(name, name), value)
    own = [given[name] for name in captions.NAMES if name in given]
    extra = {name: given[name] for name in given if ALIASES.get(name, name) not in (*COLUMNS, *captions.NAMES)}
    return found, extra, own


def _machine_path(given: str, uri: str) -> str:
    """The absolute path that an address names, also of a member of an archive.

    "" for a relative path, or an address in a store or on the web.
    """
    if member := member_of(uri):
        return os.path.normpath(f"{member.archive}/{member.name}")
    path = local_path(given)
    return os.path.normpath(path) if path.startswith("/") else ""


def _name_by_path(rows: list[SourceRow], source: str) -> None:
    """Name rows with absolute paths by the ends of these: below the list's folder, or below the folder that they share.

    An absolute path of the machine is neither an id nor a source of the dataset.
    """
    paths = {row["path"] for row in rows if "path" in row}
    if not paths:
        return
    base = "" if is_uri(source) else os.path.dirname(os.path.abspath(os.path.expanduser(source)))
    if not base or not all(_is_below(path, base) for path in paths):
        base = os.path.commonpath([os.path.dirname(path) for path in paths])
    given_ids = {row["id"] for row in rows if row["id"]}
    unnamed = [row["path"] for row in rows if not row["id"]]
    while base != "/" and any(os.path.relpath(path, base) in given_ids for path in unnamed):
        base = os.path.dirname(base)
    for number, row in enumerate(rows):
        if "path" in row:
            name = os.path.relpath(row.pop("path"), base)
            if "problem" in row:
                row["id"] = row["id"] or _shown(name)
            elif problem := _problem_of_name(name):
                rows[number] = _problem(row["id"] or name, f"the file name {problem}; rename the file")
            else:
                rows[number] = {"source": name, **row, "id": row["id"] or name}


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def _text_of(column: str, value: Any) -> str:
    text = published(str(value))
    return text.strip().lower() if column == "up" else text


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
    if row.get("up", "y") not in UP:
        return f"up is {row['up']!r}, expected 'y', 'z' or 'auto'"
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


def _problem(name: str, detail: str, path: str = "") -> SourceRow:
    row: SourceRow = {"id": _shown(name), "uri": "", "problem": "bad_row", "problem_detail": message(detail)}
    return {**row, "path": path} if path else row


def resolve_uri(given: str, source: str) -> str:
    """Make a mesh's path absolute; a relative path is relative to the list file. What is not accepted stays as it is.

    Ingest then refuses it.
    """
    if member := member_of(given):
        return address_of(member._replace(archive=resolve_uri(member.archive, source)))
    try:
        if scheme_of(given) or given.startswith("/"):
            return given
    except AddressError:
        return given
    if is_uri(given):
        return local_path(given)
    if is_uri(source):
        return f"{source.rsplit('/', 1)[0]}/{given}"
    above, mark, inner = given.partition("/./")  # the mark says which folder has the files that belong to the mesh
    folder = os.path.dirname(os.path.abspath(os.path.expanduser(source)))
    return os.path.normpath(os.path.join(folder, above)) + (f"/./{os.path.normpath(inner)}" if mark else "")

"""A row of a source: made of an entry of a list or of an adapter, or a row that cannot be used, with its problem."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any, TypedDict, cast

from manifests import captions
from manifests.addresses import AddressError, is_uri, local_path, row_id, scheme_of
from manifests.archives.address import address_of, member_of
from manifests.splits import LONGEST_SPLIT, is_split_name
from manifests.text import encodable, message, published, without_queries

COLUMNS = ("id", "uri", "group", "category", "source", "licence", "caption", "name", "tags", "split", "up")
ALIASES = {"path": "uri", "license": "licence"}
UP = ("y", "z", "auto")  # what `up` may be, in any case
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
    path: str  # absolute path of the mesh, of which `source` and a missing id are made once all rows are read


def to_row(where: str, entry: Any, source: str) -> SourceRow:
    if not isinstance(entry, dict):
        return unusable_row(where, str(entry) if isinstance(entry, ValueError) else "not an object with named fields")
    found, extra, own = _sorted_fields(entry)
    name = _given_id(found.pop("id", ""))
    if "uri" not in found:
        hint = _columns_hint(entry)
        return unusable_row(name or where, f"no uri or path; name the mesh file in one of these columns{hint}")
    given = str(found.pop("uri"))
    if encodable(given) != given:
        return unusable_row(name or where, "the file name is not UTF-8; rename the file")
    if "\0" in given:
        return unusable_row(name or where, "the file name has a null character")
    uri = resolve_uri(given, source)
    path = _machine_path(given, uri)
    name = name if name or path else row_id(given)
    tags = found.pop("tags", None)
    try:
        found["caption"] = captions.joined(own)
    except ValueError as error:
        return unusable_row(name, f"caption: {error}; {captions.EXPECTED}", path)
    texts = {column: text for column, value in found.items() if (text := _text_of(column, value))}
    if "source" in texts or not path:
        texts["source"] = without_queries(texts.get("source", given))
    row = cast(SourceRow, texts | {"id": name, "uri": uri})
    if isinstance(tags, str | list):
        row["tags"] = _to_tags(published(tags))
    if extra:
        row["extra"] = published(extra)
    if problem := _problem_of_row(row, tags):
        return unusable_row(name, problem, path)
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


def _is_empty(value: Any) -> bool:
    """Whether a field has no value; some lists write NaN for that."""
    return value is None or value == "" or isinstance(value, float) and value != value


def _given_id(value: Any) -> str:
    name = encodable(str(value))
    return name if published(name) == name else row_id(name)


def _text_of(column: str, value: Any) -> str:
    text = published(str(value))
    return text.strip().lower() if column == "up" else text


def _to_tags(given: str | list[Any]) -> list[str]:
    if isinstance(given, str):
        given = given.split("|" if "|" in given else ",")
    tags = [encodable(str(tag)).strip() for tag in given]
    return [tag for tag in tags if tag]


def _machine_path(given: str, uri: str) -> str:
    """The absolute path that an address names, also of a member of an archive.

    "" for a relative path, or an address in a store or on the web.
    """
    member = member_of(uri)
    path = f"{member.archive}/{member.name}" if member else local_path(given)
    return os.path.normpath(path) if path.startswith("/") else ""


def _columns_hint(entry: dict[str, Any]) -> str:
    """Which columns there are instead, or that they are separated otherwise."""
    names = list(map(str, entry))
    separator = next((sign for sign in ";\t|" if len(names) == 1 and sign in names[0]), "")
    return (
        f"; the list is separated by {separator!r}, expected commas" if separator else f", not {', '.join(names)[:200]}"
    )


def unusable_row(name: str, detail: str, path: str = "") -> SourceRow:
    row: SourceRow = {"id": shown_name(name), "uri": "", "problem": "bad_row", "problem_detail": message(detail)}
    return {**row, "path": path} if path else row


def shown_name(name: str) -> str:
    """A name that can be an id: without control characters, and not too long, yet different for different names."""
    text = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), name)
    text = text.encode(errors="backslashreplace").decode()
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return text if len(text) <= _LONGEST_NAME else f"{text[:80]}…#{digest}"


def problem_of_name(name: str) -> str:
    if encodable(name) != name:
        return "is not UTF-8"
    if _CONTROL.search(name):
        return "has control characters"
    return f"has {len(name):,} characters; at most {_LONGEST_NAME:,} are read" if len(name) > _LONGEST_NAME else ""


def _problem_of_row(row: SourceRow, tags: Any) -> str:
    """Why the values of a row cannot be used; "" if they can."""
    if problem := problem_of_name(row["id"]):
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

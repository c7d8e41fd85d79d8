"""Read a source into rows: a folder, a glob, one mesh, a list file, an archive or a published dataset.

Every row has an `id` and a `uri`. A row that cannot be used keeps its place and has `problem` and `problem_detail`, so
that it fails with a reason and the other rows are not affected.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from manifests.adapters import adapter_of
from manifests.adapters.adapter import open_layout
from manifests.addresses import WEB, AddressError, is_uri, local_path, open_files, row_id, scheme_of, unsigned
from manifests.archives.address import ENDINGS as ARCHIVE_ENDINGS
from manifests.archives.address import OTHER_ENDINGS, Member, address_of, member_of
from manifests.archives.archive import ArchiveError, open_archive
from manifests.folders import SourceError, find
from manifests.left_out import CONVERT, CONVERTIBLE, left_out
from manifests.list_files import LIST_ENDINGS, read_list, reading
from manifests.source_row import SourceRow, problem_of_name, shown_name, to_row, unusable_row
from manifests.splits import MOST_SPLITS
from manifests.text import message, public_address
from manifests.web import OFFLINE, Web

_OF_MACOS = re.compile(r"(^|/)(__MACOSX/|\._)")  # what its archiver adds: no mesh, whatever its ending


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
        rows = [to_row(where, entry, name) for where, entry in read_list(source, name, web)]
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
        _check_found(source, endings, left_out(uris, others, local=not is_uri(source)), rows, tell)
    if not rows:
        raise SourceError(f"{source}: the list has no rows")
    return _checked(rows)


def _checked(rows: list[SourceRow]) -> list[SourceRow]:
    _mark_surplus_splits(rows)
    _mark_duplicate_ids(rows)
    return rows


def _check_found(
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
    rows: list[SourceRow] = []
    others: list[str] = []
    with reading(f"{name}:{folder}"):
        layout = open_layout(name, folder)
        for number, entry in enumerate(layout.entries(), 1):
            member = member_of(entry["uri"])
            file = member.name if member else entry["uri"]
            if file.lower().endswith(endings):
                rows.append(to_row(f"object {number}", {key: value for key, value in entry.items() if value}, ""))
            else:
                others.append(file)
    _name_by_path(rows, str(layout.root / "objects"))  # as if a list in the root named them
    _check_found(f"{name}:{folder}", endings, left_out((), others, local=False), rows, tell)
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
        unusable_row(name, "the member's name leads out of the archive; pack it under another name")
        for name in sorted(archive.outside)
        if name.lower().endswith(endings)
    ]
    others = [name for name in names if not name.lower().endswith(endings)]
    _check_found(source, endings, left_out(meshes, others, local=False), rows, tell)
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
    if problem := problem_of_name(name):
        return {**unusable_row(name, f"the file name {problem}; rename the file"), "source": shown_name(name)}
    return row


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
                row["id"] = row["id"] or shown_name(name)
            elif problem := problem_of_name(name):
                rows[number] = unusable_row(row["id"] or name, f"the file name {problem}; rename the file")
            else:
                rows[number] = {"source": name, **row, "id": row["id"] or name}


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))

"""Find the mesh files of a source that is a folder or a glob. A folder that cannot be read is an error."""

from __future__ import annotations

import errno
import fnmatch
import heapq
import itertools
import os
from collections.abc import Iterator, Sequence

from manifests.text import message


class SourceError(Exception):
    """The source as a whole cannot be read. The text is one line, without credentials."""

    def __init__(self, problem: str):
        super().__init__(message(problem))


def find(
    folder: str, parts: Sequence[str], endings: tuple[str, ...], hidden: bool, others: list[str] | None = None
) -> Iterator[str]:
    """Yield the files below a folder that match the parts of a glob and have one of these endings.

    Files that match and have another ending are added to `others`.
    The standard library's glob skips folders that cannot be listed and follows cycles of links.
    """
    deep = parts[0] == "**"
    while parts[0] == "**":
        parts = parts[1:]
    for entry in itertools.chain.from_iterable(_walk(folder, endings, hidden)) if deep else _entries(folder):
        if not _fits(entry.name, parts[0], hidden):
            continue
        if len(parts) > 1:
            if _is_folder(entry, endings):
                yield from find(entry.path, parts[1:], endings, hidden, others)
        elif entry.name.lower().endswith(endings):
            if not _is_folder(entry, endings):
                yield entry.path
        elif others is not None and _is_file(entry):
            others.append(entry.path)


def _walk(top: str, endings: tuple[str, ...], hidden: bool) -> Iterator[list[os.DirEntry[str]]]:
    """Yield the entries of a folder and of each folder below it.

    No folder is entered twice, so a cycle of links ends. Links to folders are followed after all real folders, so that
    a mesh is named after its real place.
    """
    folders, entered = [(top, os.path.realpath(top))], set[str]()
    links: list[tuple[str, str]] = []
    while folders or links:
        folder, real = folders.pop() if folders else heapq.heappop(links)
        if real in entered:
            continue
        entered.add(real)
        entries = _entries(folder)
        yield entries
        for entry in entries:
            if _fits(entry.name, "*", hidden) and _is_folder(entry, endings):
                if entry.is_symlink():
                    heapq.heappush(links, (entry.path, os.path.realpath(entry.path)))
                else:
                    folders.append((entry.path, os.path.join(real, entry.name)))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder. One that cannot be listed is an error: skipped, its rows would silently be withdrawn."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        detail = f"this folder cannot be listed ({error.strerror}); make it readable, or pass a glob that leaves it out"
        raise SourceError(f"{_end_of(folder)}: {detail}") from error


def _is_folder(entry: os.DirEntry[str], endings: tuple[str, ...]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP or entry.name.lower().endswith(endings):
            return False  # a link to nowhere, or a row that fails with its own reason
        detail = f"this link cannot be followed ({error.strerror}); repair it, or remove it from the source"
        raise SourceError(f"{_end_of(entry.path)}: {detail}") from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _fits(name: str, part: str, hidden: bool) -> bool:
    return fnmatch.fnmatchcase(name, part) and (hidden or part.startswith(".") or not name.startswith("."))


def _end_of(path: str) -> str:
    return path if len(path) <= 500 else f"…{path[-500:]}"

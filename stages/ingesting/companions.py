"""Fetch the files that a mesh refers to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from stages.contract.stage import StageError
from stages.ingesting.origins import Origin
from stages.meshes.mesh_file import Companion
from stages.meshes.references import is_absolute, missing, names_of, shown

_MOST_COMPANIONS = 10_000
_NAMES = 4  # by which a companion is looked for at most
_LONGEST_NAME = 1_024  # bytes; no object store has longer ones


class Companions:
    """`found` has the files by the names under which the mesh refers to them, relative to it.

    `missing` has a warning for each reference without a file, `replaced` one for each whose file is elsewhere.
    """

    def __init__(self, origin: Origin):
        self._origin = origin
        self.found: dict[str, bytes] = {}
        self.missing: dict[str, None] = {}
        self.replaced: dict[str, None] = {}
        self._absent: set[str] = set()  # names without a file
        self._followed: set[str] = set()

    def fetch(self, companions: Iterable[Companion], owner: str) -> None:
        """Fetch companions and what they refer to. owner: the name of the file that refers to them."""
        wanted: dict[str, Companion] = {}
        for companion in companions:
            wanted.setdefault(companion.uri, companion)
            self._check_count(len(wanted) + len(self.found) + len(self.missing))
        names = {uri: names_of(uri, owner) for uri in wanted}  # all are checked before the first is opened
        for uri, companion in wanted.items():
            found = self._fetch(names[uri], uri) or self._search(names[uri], uri)
            if found is not None:
                if companion.companions is not None and found not in self._followed:
                    self._followed.add(found)
                    self.fetch(companion.companions(self.found[found]), found)
            elif companion.needed and is_absolute(uri):
                detail = f"{owner} refers to {shown(uri)!r} by an absolute path, and its own folder has no such file"
                raise StageError("external_reference", detail)
            elif companion.needed:
                raise StageError("missing_file", f"{owner} needs {uri[:200]!r}, but there is no such file")
            else:
                self.missing[missing(uri)] = None

    def _check_count(self, count: int) -> None:
        if count > _MOST_COMPANIONS:
            detail = f"{self._origin.name} refers to {count:,} files; at most {_MOST_COMPANIONS:,} are read"
            raise StageError("too_large", detail)

    def _search(self, names: list[str], uri: str) -> str | None:
        """The name for a file that is elsewhere in the mesh's folder or below it under the same file name.

        The nearest is taken, and of those at one depth the first by name.
        """
        name = next((name for name in names if len(name.encode()) <= _LONGEST_NAME), None)
        paths = self._origin.nearest({posixpath.basename(name) for name in names}) if name else []
        data = self._origin.companion(paths[0]) if paths else None
        if name is None or data is None:
            return None
        self.found[name] = data
        if is_absolute(uri) or paths[0].casefold() not in map(str.casefold, names):
            nearest = f", the nearest of {len(paths)} files of that name" if len(paths) > 1 else ""
            self._warn(uri, f"{paths[0]}{nearest}")
        return name

    def _warn(self, uri: str, taken: str) -> None:
        why = "named by an absolute path" if is_absolute(uri) else "not there"
        self.replaced[f"file {shown(uri)}: {why}; taken from {taken[:400]}"] = None

    def _fetch(self, names: list[str], uri: str) -> str | None:
        """The first of the names that has a file, which is fetched once."""
        for name in names:
            if name in self.found:
                return name
            if name in self._absent or len(name.encode()) > _LONGEST_NAME:
                continue
            data = self._origin.companion(name)
            if data is not None:
                self.found[name] = data
                if is_absolute(uri):
                    self._warn(uri, name)
                return name
            self._absent.add(name)
            self._check_count(len(self._absent) // _NAMES)
        return None

"""Fetch the files that a mesh refers to."""

from __future__ import annotations

from collections.abc import Iterable

from stages.contract.stage import StageError
from stages.ingesting.origins import Origin
from stages.meshes.mesh_file import Companion
from stages.meshes.references import names_of

_MOST_COMPANIONS = 10_000
_NAMES = 4  # by which a companion is looked for at most
_LONGEST_NAME = 1_024  # bytes; no object store has longer ones


class Companions:
    """`found` has the files by their names relative to the mesh, `missing` the references without a file."""

    def __init__(self, origin: Origin):
        self._origin = origin
        self.found: dict[str, bytes] = {}
        self.missing: dict[str, None] = {}
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
            found = self._fetch(names[uri])
            if found is not None:
                if companion.companions is not None and found not in self._followed:
                    self._followed.add(found)
                    self.fetch(companion.companions(self.found[found]), found)
            elif companion.needed:
                raise StageError("missing_file", f"{owner} needs {uri[:200]!r}, but there is no such file")
            else:
                self.missing[uri[:200]] = None

    def _check_count(self, count: int) -> None:
        if count > _MOST_COMPANIONS:
            detail = f"{self._origin.name} refers to {count:,} files; at most {_MOST_COMPANIONS:,} are read"
            raise StageError("too_large", detail)

    def _fetch(self, names: list[str]) -> str | None:
        """The first of the names that has a file, which is fetched once."""
        for name in names:
            if name in self.found:
                return name
            if name in self._absent or len(name.encode()) > _LONGEST_NAME:
                continue
            data = self._origin.companion(name)
            if data is not None:
                self.found[name] = data
                return name
            self._absent.add(name)
            self._check_count(len(self._absent) // _NAMES)
        return None

"""Read a mesh and its companions from a zip or tar archive of the local disk."""

from __future__ import annotations

import os
import posixpath

from manifests.archives.address import Member
from manifests.archives.archive import Archive, ArchiveError, MemberError, open_archive
from stages.contract.stage import StageError
from stages.ingesting.origins import Origin


class ArchiveOrigin(Origin):
    """A mesh and the members in its folder, or in the folder above that a `/./` in its name marks.

    `files` has the archive: where its size or time changes, all its members are read again."""

    def __init__(self, member: Member, max_bytes: int):
        self._path = member.archive
        self._name = posixpath.normpath(member.name)
        above, mark, inner = f"/{member.name}".partition("/./")
        self._folder = above.lstrip("/") if mark else posixpath.dirname(self._name)
        super().__init__(posixpath.normpath(inner) if mark else posixpath.basename(self._name), max_bytes)

    def main(self) -> bytes:
        archive = self._archive()
        found = archive.find(self._name)
        if found is None:
            raise StageError("not_found", f"{self._path} has no member {self._name}")
        try:
            return self._read(archive, found)
        except MemberError as error:
            raise StageError(error.reason, f"{self._path}: {error}") from None

    def companion(self, name: str) -> bytes | None:
        archive = self._archive()
        found = archive.find(posixpath.join(self._folder, name))
        if found is None:
            return None
        try:
            return self._read(archive, found)
        except MemberError as error:
            if error.reason != "corrupt_file":
                return None
            raise StageError(error.reason, f"{self._path}: {error}") from None

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        return self._archive().folders.get(posixpath.join(self._folder, folder).rstrip("/"), ([], []))

    def _archive(self) -> Archive:
        try:
            status = os.stat(self._path)
            self.files = [(self._path, status.st_size, status.st_mtime_ns)]
            return open_archive(self._path)
        except ArchiveError as error:
            raise StageError("corrupt_file", f"{self._path}: {error}") from None
        except FileNotFoundError:
            self.files = [(self._path, None, None)]
            raise StageError("not_found", f"{self._path}: no such archive") from None
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte in it
            self.files = [(self._path, None, None)]
            raise StageError("unreadable", f"{self._path}: {getattr(error, 'strerror', error)}") from None

    def _read(self, archive: Archive, name: str) -> bytes:
        self.check_size(archive.size(name), name)
        try:
            with archive.open(name) as stream:
                return self.read_all(stream, name)
        except OSError as error:
            raise StageError("unreadable", f"{self._path}: {error.strerror or error}") from None

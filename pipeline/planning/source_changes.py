"""Find out whether the source of a row has changed since it was ingested."""

from __future__ import annotations

import os
from dataclasses import dataclass

from manifests.addresses import address_seen
from manifests.archives.address import local_file
from manifests.records import Seen
from stages.contract.stage import Row


@dataclass(frozen=True)
class SourceChanges:
    """`refresh`: None compares size and time of local files, True also reads URIs again, False trusts the log."""

    refresh: bool | None = None

    def is_unchanged(self, row: Row, seen: Seen) -> bool:
        """Compare a row with what its ingest saw: its uri, and each file with size and time.

        Another signature of the same address is no change, except where the ingest failed.
        """
        if seen.get("uri") not in (row["uri"], *(address_seen(row["uri"], ok) for ok in (True, False))):
            return False
        if not local_file(row["uri"]):
            return self.refresh is not True
        if self.refresh is False:
            return True
        try:
            return all(stamp(path) == (size, moment) for path, size, moment in seen.get("files", []))
        except (TypeError, ValueError):
            return False  # the record is damaged


def stamp(path: str) -> tuple[int | None, int | None]:
    """Size and modification time of a file; None if there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a null byte in it
        return None, None
    return found.st_size, found.st_mtime_ns

"""Whether a row's source still is what its ingest saw."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from manifests.store import is_uri
from stages.stage import Row


@dataclass(frozen=True)
class Freshness:
    """`refresh`: None looks at local files (size, time), True fetches remote ones again too, False trusts the log."""

    refresh: bool | None = None

    def __call__(self, row: Row, seen: dict[str, Any]) -> bool:
        if seen.get("uri") != row.get("uri"):
            return False
        if is_uri(row["uri"]):
            return self.refresh is not True
        if self.refresh is False:
            return True
        return all(stamp(path) == (size, moment) for path, size, moment in seen.get("files", []))


def stamp(path: str) -> tuple[int | None, int | None]:
    """Size and time of a file; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None, None
    return found.st_size, found.st_mtime_ns

"""Objaverse-XL: annotations as Parquet, and the files where its API stores those of each of its four sources."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from manifests.adapters.adapter import Adapter, Entry, text_in, with_folder
from manifests.adapters.objaverse import LICENCES
from manifests.archives.address import ENDINGS, Member, address_of
from manifests.folders import SourceError

_SOURCES = ("github", "smithsonian", "thingiverse", "sketchfab")
_COLUMNS = ("fileIdentifier", "source", "license", "fileType", "sha256", "metadata")


class Layout(Adapter):
    looks_for: ClassVar[str] = (
        "annotations such as github/github.parquet, thingiverse/thingiverse.parquet, smithsonian/smithsonian.parquet "
        "or sketchfab/sketchfab.parquet"
    )

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        return folder if any((folder / name / f"{name}.parquet").is_file() for name in _SOURCES) else None

    def entries(self) -> Iterator[Entry]:
        located = {
            "github": self._on_github,
            "smithsonian": self._at_smithsonian,
            "thingiverse": self._on_thingiverse,
            "sketchfab": self._on_sketchfab,
        }
        seen: set[str] = set()
        for name, locate in located.items():
            path = self.root / name / f"{name}.parquet"
            for row in _annotations(path) if path.is_file() else ():
                identifier = text_in(row, "fileIdentifier")
                uri = locate(identifier)
                if not uri:
                    continue
                own = identifier.rsplit("/", 1)[-1] if name == "sketchfab" else text_in(row, "sha256") or identifier
                if own not in seen:  # equal files have equal hashes
                    seen.add(own)
                    yield {"id": own, "uri": uri, **_words(row)}

    @cached_property
    def _files(self) -> dict[str, str]:
        """What the API has stored, by name: to ask for each of ten million files would take hours."""
        patterns = ("thingiverse/*.stl", "smithsonian/objects/*.glb", "hf-objaverse-v1/glbs/*/*.glb")
        return {path.name: str(path) for pattern in patterns for path in self.root.glob(pattern)}

    @cached_property
    def _repositories(self) -> dict[tuple[str, str], Path]:
        """The folder or the archive of each repository, by organisation and name."""
        found = {}
        # In reverse, so that of a folder and an archive of one name the folder counts.
        for path in sorted((self.root / "github" / "repos").glob("*/*"), reverse=True):
            ending = next((ending for ending in ENDINGS if path.is_file() and path.name.endswith(ending)), "")
            found[path.parent.name, path.name.removesuffix(ending)] = path
        return found

    def _on_github(self, identifier: str) -> str:
        """.../ORGANISATION/REPOSITORY/blob/COMMIT/PATH"""
        parts = identifier.split("/", 7)
        path = self._repositories.get((parts[3], parts[4])) if len(parts) == 8 else None
        if path is None or ".." in identifier.split("/"):
            return ""
        inner = parts[7].lstrip("/")
        if path.is_dir():
            return with_folder(path, inner) if (path / inner).is_file() else ""
        return address_of(Member(f"./{inner}" if path.suffix == ".zip" else f"{parts[4]}/./{inner}", str(path)))

    def _at_smithsonian(self, identifier: str) -> str:
        return self._files.get(f"{uuid.uuid5(uuid.NAMESPACE_DNS, identifier)}.glb", "")

    def _on_thingiverse(self, identifier: str) -> str:
        """.../thing:THING/files?fileId=FILE"""
        thing = identifier.rpartition("thing:")[2].partition("/")[0]
        return self._files.get(f"thing-{thing}-file-{identifier.rpartition('fileId=')[2]}.stl", "")

    def _on_sketchfab(self, identifier: str) -> str:
        return self._files.get(f"{identifier.rsplit('/', 1)[-1]}.glb", "")


def _annotations(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(10_000, columns=columns, use_threads=False):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{path}: not a Parquet file: {error}") from error


def _words(row: dict[str, Any]) -> Entry:
    try:
        about = json.loads(text_in(row, "metadata") or "{}")
    except (ValueError, RecursionError):
        about = {}
    licence = text_in(row, "license")
    return {
        "name": text_in(about, "title") or text_in(about, "name"),
        "licence": LICENCES.get(licence, licence),
        "page": text_in(row, "fileIdentifier"),
        "collection": text_in(row, "source"),
    }

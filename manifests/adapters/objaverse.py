"""Objaverse 1.0 as its API stores it: glbs/000-000/UID.glb, with object-paths.json.gz and annotations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from manifests.adapters.adapter import Adapter, Entry, folders_in, read_json, text_in

# what Sketchfab calls Creative Commons licences
LICENCES = {
    "by": "CC-BY-4.0", "by-sa": "CC-BY-SA-4.0", "by-nd": "CC-BY-ND-4.0", "by-nc": "CC-BY-NC-4.0",
    "by-nc-sa": "CC-BY-NC-SA-4.0", "by-nc-nd": "CC-BY-NC-ND-4.0", "cc0": "CC0-1.0",
}  # fmt: skip


class Layout(Adapter):
    looks_for: ClassVar[str] = "object-paths.json.gz, and glbs/ with a .glb for each object"

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        for root in (folder, folder / "hf-objaverse-v1"):
            if (root / "object-paths.json.gz").is_file() or (root / "glbs").is_dir():
                return root
        return None

    def entries(self) -> Iterator[Entry]:
        categories = self._categories()
        for folder in folders_in(self.root / "glbs") if (self.root / "glbs").is_dir() else ():
            about = self.root / "metadata" / f"{folder.name}.json.gz"
            annotations = read_json(about) if about.is_file() else {}
            for path in sorted(folder.glob("*.glb")):
                annotation = annotations.get(path.stem) if isinstance(annotations, dict) else None
                yield {"id": path.stem, "uri": str(path), "category": categories.get(path.stem), **_words(annotation)}

    def _categories(self) -> dict[str, str]:
        """LVIS category by object."""
        path = self.root / "lvis-annotations.json.gz"
        listed = read_json(path) if path.is_file() else {}
        pairs = listed.items() if isinstance(listed, dict) else ()
        lists = ((category, uids) for category, uids in pairs if isinstance(uids, list))
        return {uid: category for category, uids in lists for uid in uids if isinstance(uid, str)}


def _words(annotation: object) -> Entry:
    if not isinstance(annotation, dict):
        return {}
    tags = annotation.get("tags")
    licence = text_in(annotation, "license")
    return {
        "name": text_in(annotation, "name"),
        "tags": [text_in(tag, "name") for tag in tags] if isinstance(tags, list) else None,
        "licence": LICENCES.get(licence, licence),
        "author": text_in(annotation, "user", "displayName") or text_in(annotation, "user", "username"),
        "page": text_in(annotation, "viewerUrl"),
    }

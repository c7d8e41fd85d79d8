"""Amazon Berkeley Objects: 3dmodels/original/PATH with 3dmodels.csv.gz, and listings that say what each product is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from manifests.adapters.adapter import Adapter, Entry, read_lines, read_table, text_in

_INDEX = "metadata/3dmodels.csv.gz"


class Layout(Adapter):
    """`root` is the folder 3dmodels/."""

    looks_for: ClassVar[str] = f"3dmodels/{_INDEX}, and 3dmodels/original/ with .glb files"

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        return next((root for root in (folder / "3dmodels", folder) if (root / _INDEX).is_file()), None)

    def entries(self) -> Iterator[Entry]:
        listings = self._listings()
        licence = self._licence()
        for row in read_table(self.root / _INDEX):
            name = row.get("3dmodel_id", "")
            path = self.root / "original" / row.get("path", "")
            if name and path.is_file():
                yield {"id": name, "uri": str(path), "licence": licence, "up": "y", **_words(listings.get(name, {}))}

    def _listings(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path in sorted((self.root.parent / "listings" / "metadata").glob("listings_*.json.gz")):
            for listing in read_lines(path):
                if model := text_in(listing, "3dmodel_id"):
                    found.setdefault(model, listing)
        return found

    def _licence(self) -> str:
        """As the licence file says that lies beside the data: earlier copies were CC BY-NC."""
        files = {path.name for folder in (self.root.parent, self.root) for path in folder.glob("LICENSE-*.txt")}
        return "CC-BY-NC-4.0" if any("NC" in name for name in files) else "CC-BY-4.0" if files else ""


def _words(listing: dict[str, Any]) -> Entry:
    return {
        "name": next(iter(_english(listing, "item_name")), None),
        "category": next((value.lower() for value in _values(listing, "product_type")), None),
        "tags": [*_english(listing, "color"), *_english(listing, "material")],
        "caption": [{"text": text, "kind": "description"} for text in _english(listing, "product_description")],
        "brand": next(iter(_english(listing, "brand")), None),
    }


def _values(listing: dict[str, Any], field: str, language: str = "") -> list[str]:
    values = listing.get(field)
    if not isinstance(values, list):
        return []
    texts = (text_in(value, "value") for value in values if text_in(value, "language_tag").startswith(language))
    return [text for text in texts if text]


def _english(listing: dict[str, Any], field: str) -> list[str]:
    return _values(listing, field, "en")

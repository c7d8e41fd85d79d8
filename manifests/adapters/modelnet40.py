"""ModelNet40 and ModelNet10: CATEGORY/train/NAME.off and CATEGORY/test/NAME.off, with z up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from manifests.adapters.adapter import Adapter, Entry, folders_in

_SPLITS = ("train", "test")


class Layout(Adapter):
    looks_for: ClassVar[str] = "CATEGORY/train/ and CATEGORY/test/ with OFF files"

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        for root in (folder, folder / "ModelNet40", folder / "ModelNet10"):
            if root.is_dir() and _categories(root):
                return root
        return None

    def entries(self) -> Iterator[Entry]:
        for category in _categories(self.root):
            for split in _SPLITS:
                for path in sorted((category / split).glob("*.off")):
                    yield {
                        "id": f"{category.name}/{split}/{path.stem}",
                        "uri": str(path),
                        "category": category.name,
                        "split": split,
                        "up": "z",
                    }


def _categories(root: Path) -> list[Path]:
    return [path for path in folders_in(root) if any((path / split).is_dir() for split in _SPLITS)]

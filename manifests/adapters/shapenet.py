"""ShapeNetCore: a folder for each synset with a folder for each model; version 1 and version 2 differ in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from manifests.adapters.adapter import Adapter, Entry, folders_in, read_json, read_table, text_in, with_folder

_SYNSET = re.compile(r"\d{8}")
_MESHES = ("models/model_normalized.obj", "model_normalized.obj", "model.obj")


class Layout(Adapter):
    looks_for: ClassVar[str] = (
        "folders of synsets such as 02691156/, with MODEL/models/model_normalized.obj or MODEL/model.obj"
    )

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        for root in (folder, folder / "ShapeNetCore.v2", folder / "ShapeNetCore.v1"):
            if root.is_dir() and _synsets(root):
                return root
        return None

    def entries(self) -> Iterator[Entry]:
        names = self._names()
        listed = self.root / "all.csv"  # the official split
        official = {(row.get("synsetId"), row.get("modelId")): row for row in _rows(listed)}
        for synset in _synsets(self.root):
            about = {row.get("fullId", "").rpartition(".")[2]: row for row in _rows(self.root / f"{synset.name}.csv")}
            for model in folders_in(synset):
                mesh = next((name for name in _MESHES if (model / name).is_file()), "")
                if not mesh:
                    continue
                given = official.get((synset.name, model.name), {})
                words = about.get(model.name, {})
                narrower = names.get(given.get("subSynsetId", ""), "")
                yield {
                    "id": f"{synset.name}/{model.name}",
                    "uri": with_folder(model, mesh),  # textures are in MODEL/images
                    "category": names.get(synset.name),
                    "name": words.get("name"),
                    "tags": words.get("tags") or (narrower if narrower != names.get(synset.name) else None),
                    "split": given.get("split"),
                    "licence": "ShapeNet terms of use",
                    "up": "y",
                    "synset": synset.name,
                }

    def _names(self) -> dict[str, str]:
        """The first word of each synset, by its number: `airplane` of `airplane,aeroplane,plane`."""
        path = self.root / "taxonomy.json"
        taxonomy: Any = read_json(path) if path.is_file() else []
        synsets = taxonomy if isinstance(taxonomy, list) else ()
        found = ((text_in(synset, "synsetId"), text_in(synset, "name")) for synset in synsets)
        return {number: name.partition(",")[0].strip() for number, name in found if number}


def _synsets(root: Path) -> list[Path]:
    return [path for path in folders_in(root) if _SYNSET.fullmatch(path.name)]


def _rows(path: Path) -> list[dict[str, str]]:
    return read_table(path) if path.is_file() else []

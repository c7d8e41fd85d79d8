"""Generate the demo corpus: textured meshes of everyday objects with true attributes and reference captions.

out: id, uri, category, caption, name, tags, licence; and, for the dataset's metadata, color, second_color, pattern,
     material, shape, trim, features, part, part_count, corpus
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from manifests.store import LocalStore
from stages.corpus.captions import caption, name
from stages.corpus.categories import CATEGORIES
from stages.corpus.draw import Draw
from stages.corpus.glb import Painted, glb

VERSION = 1  # raised when the same seed gives other bytes
LIST = "source.jsonl"
LICENCE = "Apache-2.0"


class Corpus(BaseModel):
    """Generated objects, each a function of the seed and its number: a larger count extends a smaller one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    count: int = Field(48, ge=1, le=1_000_000)
    """How many objects; categories are balanced over any number of them."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Another seed gives other objects."""

    def write(self, folder: Path, progress: Callable[[int], None] | None = None) -> Path:
        """Write `meshes/<id>.glb` and, last, `source.jsonl`, whose path is returned.

        Objects of this corpus that the folder already has are not written again. `progress` is called with the number
        of objects done so far.
        """
        store = LocalStore(str(Path(folder).absolute()))
        listed = _listed(store)
        known = {row["id"][:6]: row for row in listed if row.get("corpus") == self.tag}
        rows: list[dict[str, Any]] = []
        for index in range(self.count):
            row = known.get(f"{index:06d}")
            if row is None or not store.exists(row["uri"]):
                row, data = self.make(index)
                if not (store.exists(row["uri"]) and store.read(row["uri"]) == data):
                    store.replace(row["uri"], data)
            rows.append(row)
            if progress is not None:
                progress(index + 1)
        if rows != listed:
            store.replace(LIST, "".join(json.dumps(row) + "\n" for row in rows).encode())
            for uri in {row["uri"] for row in listed if "corpus" in row} - {row["uri"] for row in rows}:
                store.delete(uri)
        return Path(store.root) / LIST

    @property
    def tag(self) -> str:
        """The corpus that a row comes from: its version and seed."""
        return f"demo-v{VERSION}-seed{self.seed}"

    def make(self, index: int) -> tuple[dict[str, Any], bytes]:
        """The row and the GLB of one object."""
        columns, solids = self.model(index)
        return columns, glb(columns["id"], solids)

    def model(self, index: int) -> tuple[dict[str, Any], list[Painted]]:
        """The row and the painted solids of one object."""
        category = CATEGORIES[self.category(index)]
        rng = np.random.default_rng([self.seed, 1, index])
        draw = Draw(rng, category)
        traits = category.build(draw)
        two_colored = draw.pattern != "plain" or draw.uses(draw.second)
        ident = f"{index:06d}-{category.name.replace(' ', '-')}"
        columns: dict[str, Any] = {
            "id": ident,
            "uri": f"meshes/{ident}.glb",
            "category": category.name,
            "licence": LICENCE,
            "color": draw.color,
            "second_color": draw.second_color if two_colored else None,
            "pattern": draw.pattern,
            "material": draw.material,
            "shape": traits.shape or None,
            "trim": traits.trim if traits.trim and draw.uses(draw.second) else None,
            "features": list(traits.features),
            "part": traits.part or None,
            "part_count": traits.part_count,
            "corpus": self.tag,
        }
        columns["name"] = name(columns)
        columns["caption"] = caption(columns, rng)
        words = (columns[key] for key in ("category", "color", "second_color", "pattern", "material", "shape"))
        columns["tags"] = list(dict.fromkeys(word for word in words if word))
        return columns, draw.solids

    def category(self, index: int) -> int:
        """The index of an object's category in CATEGORIES; each block of len(CATEGORIES) objects has every category."""
        block, position = divmod(index, len(CATEGORIES))
        return int(np.random.default_rng([self.seed, 0, block]).permutation(len(CATEGORIES))[position])


def _listed(store: LocalStore) -> list[dict[str, Any]]:
    """The rows of an existing list; none if there is no list or it is not JSON lines."""
    try:
        return [json.loads(line) for line in store.read(LIST).splitlines()]
    except (FileNotFoundError, ValueError):
        return []

"""Google Scanned Objects as Gazebo Fuel gives them: MODEL/meshes/model.obj, with metadata.pbtxt and textures beside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from manifests.adapters.adapter import Adapter, Entry, folders_in, with_folder

_MESH = "meshes/model.obj"
_LARGEST = 1 << 20  # bytes of metadata.pbtxt that are read
_STRING = r'"((?:[^"\\]|\\.)*)"'


class Layout(Adapter):
    looks_for: ClassVar[str] = f"a folder for each model, with {_MESH}"

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        for root in (folder, folder / "models"):
            if root.is_dir() and any((model / _MESH).is_file() for model in folders_in(root)):
                return root
        return None

    def entries(self) -> Iterator[Entry]:
        for model in folders_in(self.root):
            if (model / _MESH).is_file():
                yield {
                    "id": model.name,
                    "uri": with_folder(model, _MESH),  # the texture is in MODEL/materials/textures
                    "name": model.name.replace("_", " ").strip(),
                    "licence": "CC-BY-4.0",
                    "up": "z",
                    **_metadata(model / "metadata.pbtxt"),
                }


def _metadata(path: Path) -> Entry:
    """What the metadata of a model says: its description, category and tags."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST)
    except OSError:
        return {}
    found: Entry = {}
    if (described := _field(text, "description")) and described != _field(text, "name"):
        found["caption"] = [{"text": described, "kind": "description"}]
    if category := re.search(rf"categories\s*:?\s*\{{\s*first\s*:\s*{_STRING}", text):
        found["category"] = _plain(category[1])
    if tags := [_plain(tag) for tag in re.findall(rf"^tags\s*:\s*{_STRING}", text, re.MULTILINE)]:
        found["tags"] = tags
    return found


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*{_STRING}", text, re.MULTILINE)
    return _plain(found[1]) if found else ""


def _plain(quoted: str) -> str:
    """The text between quotes, with its escapes undone, which stand for bytes of UTF-8."""
    with suppress(ValueError):  # escapes that mean nothing stay as they are
        quoted = quoted.encode().decode("unicode_escape").encode("latin-1").decode()
    return " ".join(quoted.split())

"""Google Scanned Objects as Gazebo Fuel gives them: meshes/model.obj, materials/textures and metadata.pbtxt of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from manifests.adapters.adapter import Adapter, Entry, folders_in, with_folder
from manifests.archives.address import Member, address_of
from manifests.archives.archive import Archive, ArchiveError, MemberError, open_archive

_MESH = "meshes/model.obj"
_LARGEST = 1 << 20  # bytes of metadata.pbtxt that are read
_STRING = r'"((?:[^"\\]|\\.)*)"'


class Layout(Adapter):
    """A model is a folder, the folder of its newest version in it, or the zip that was downloaded."""

    looks_for: ClassVar[str] = f"a folder or a zip for each model, with {_MESH}"

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        return next((root for root in (folder, folder / "models") if root.is_dir() and any(_models(root))), None)

    def entries(self) -> Iterator[Entry]:
        for name, uri, metadata in _models(self.root):
            yield {
                "id": name,
                "uri": uri,
                "name": name.replace("_", " ").strip(),
                "licence": "CC-BY-4.0",
                "up": "z",
                **_words(metadata),
            }


def _models(root: Path) -> Iterator[tuple[str, str, str]]:
    """Name, address and metadata of each model. Its texture is beside its mesh, in materials/textures."""
    for path in sorted(root.iterdir()):
        if path.suffix == ".zip" and not path.with_suffix("").is_dir():
            uri = address_of(Member(f"./{_MESH}", str(path)))
            try:
                archive = open_archive(str(path))
                if _MESH in archive.members:
                    yield path.stem, uri, _member(archive, "metadata.pbtxt")
            except (ArchiveError, OSError):
                yield path.stem, uri, ""  # ingest says what is wrong with it
        elif path.is_dir():
            versions = sorted(
                (inner for inner in folders_in(path) if inner.name.isdigit()), key=lambda at: -int(at.name)
            )
            found = next((folder for folder in (path, *versions) if (folder / _MESH).is_file()), None)
            if found:
                yield path.name, with_folder(found, _MESH), _text(found / "metadata.pbtxt")


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except OSError:
        return ""


def _member(archive: Archive, name: str) -> str:
    if name not in archive.members:
        return ""
    try:
        with archive.open(name) as stream:
            return stream.read(_LARGEST).decode(errors="replace")
    except MemberError:
        return ""


def _words(text: str) -> Entry:
    """What the metadata of a model says: its description, category and tags."""
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

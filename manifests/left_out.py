"""Say which files of a folder make no row: neither meshes nor parts of meshes."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from urllib.parse import quote

from manifests.archives.address import ENDINGS
from manifests.list_files import LIST_ENDINGS

CONVERTIBLE = (".fbx", ".dae", ".usd", ".usda", ".usdc", ".usdz", ".blend")
CONVERT = "FBX, DAE, USD and .blend files are converted with `python -m pipeline convert --source DIR --out DIR`"

_PARTS = (".mtl", ".bin")
_IMAGES = (
    ".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".tga", ".tif", ".tiff", ".dds", ".ppm", ".ktx2"
)  # fmt: skip
_REFERRING = (".gltf", ".glb", ".mtl", ".ply")  # files that name images, near their start
_HEAD = 256 << 10  # bytes of such a file that are read
_MOST_READ = 500  # such files; of more, every image in a mesh's folder counts as a texture
_OF_THE_SYSTEM = ("thumbs.db", "desktop.ini")
_ENDING = re.compile(r"\.\w{1,12}")
_SHOWN = 10  # endings that are named


def left_out(meshes: Iterable[str], others: Iterable[str], local: bool) -> str:
    """Count the other files of a folder by ending, in a sentence with advice; "" if all are parts of meshes."""
    counts = count_left_out(meshes, others, local)
    text = in_words(counts)
    if counts.keys() & {*LIST_ENDINGS, *ENDINGS}:
        text += "; a list or an archive is a source of its own: --source FILE"
    return f"{text}; {CONVERT}" if counts.keys() & set(CONVERTIBLE) else text


def count_left_out(meshes: Iterable[str], others: Iterable[str], local: bool) -> Counter[str]:
    """Count the other files of a folder by ending, without those that are parts of meshes.

    local: whether the files can be opened here, so that textures are told from other images.
    """
    meshes, others = list(meshes), list(others)
    folders = {os.path.dirname(mesh) for mesh in meshes}

    @cache
    def owner(folder: str) -> str | None:
        """The nearest folder with a mesh; a mesh's parts are in its own folder or below."""
        above = os.path.dirname(folder)
        return folder if folder in folders else owner(above) if above != folder else None

    counts: Counter[str] = Counter()
    images: defaultdict[str | None, list[str]] = defaultdict(list)  # in a mesh's folder
    for path in others:
        name = os.path.basename(path).lower()
        ending = os.path.splitext(name)[1] or "no ending"
        home = owner(os.path.dirname(path))
        if home is not None and ending in _IMAGES:
            images[home].append(name)
        elif not (home is not None and ending in _PARTS or name.startswith(".") or name in _OF_THE_SYSTEM):
            counts[ending if _ENDING.fullmatch(ending) or ending == "no ending" else "other"] += 1
    referring = [path for path in (*meshes, *others) if images and path.lower().endswith(_REFERRING)]
    if local and len(referring) <= _MOST_READ:
        texts: defaultdict[str | None, str] = defaultdict(str)
        for path in referring:
            texts[owner(os.path.dirname(path))] += _head(path)
        for home, names in images.items():
            counts.update(os.path.splitext(name)[1] for name in names if not _is_named(name, texts[home]))
    return counts


def _head(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD).decode("utf-8", "replace").lower()
    except OSError:
        return ""  # ingest says why it cannot be read


def _is_named(name: str, text: str) -> bool:
    return name in text or quote(name).lower() in text


def _most_first(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def in_words(counts: Counter[str]) -> str:
    """`3 files are left out: .png 2, .obj 1`."""
    if not counts:
        return ""
    shown = [f"{ending} {count:,}" for ending, count in sorted(counts.items(), key=_most_first)[:_SHOWN]]
    if len(counts) > _SHOWN:
        shown.append(f"{len(counts) - _SHOWN} other endings")
    count = sum(counts.values())
    return f"{count:,} {'file is' if count == 1 else 'files are'} left out: {', '.join(shown)}"

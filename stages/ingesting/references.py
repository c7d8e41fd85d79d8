"""What a mesh file refers to: buffers and images of glTF, material libraries of OBJ, textures of MTL."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from stages.contract.stage import StageError
from stages.ingesting import formats

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:")
_MTL_TEXTURES = re.compile(r"^(map_\w+|bump|disp|decal|norm|refl)$")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# how many words follow each option of a texture line at most; those of -o, -s and -t are numbers and may be fewer
_MTL_OPTIONS = {
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-clamp": 1,
    "-bm": 1, "-imfchan": 1, "-type": 1, "-cc": 1,
}  # fmt: skip


def is_embedded(uri: str) -> bool:
    return uri[:5].lower() == "data:"


def embedded(uri: str, owner: str) -> bytes:
    head, _, body = uri.partition(",")
    try:
        return base64.b64decode(unquote_to_bytes(body)) if head.endswith(";base64") else unquote_to_bytes(body)
    except binascii.Error as error:
        raise StageError("corrupt_file", f"{owner}: a data URI that is no base64 ({error})") from None


def names_of(uri: str, owner: str) -> list[str]:
    """The names under which a reference may lie in the mesh's folder: percent-decoded first, then as it is written.

    A reference that leads out of the folder is refused here, before anything is opened.
    """
    names = []
    for text in dict.fromkeys([unquote(uri), uri]):
        if not text.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in text):
            raise StageError("corrupt_file", f"{owner} refers to {ascii(uri[:200])}, which is no text")
        if _leads_out(text):
            raise StageError(
                "external_reference",
                f"{owner} refers to {uri[:200]!r}; only files in its own folder are followed",
            )
        name = posixpath.normpath(text.replace("\\", "/"))
        if name not in (".", *names):
            names.append(name)
    return names


def _leads_out(text: str) -> bool:
    path = text.replace("\\", "/")
    outside = posixpath.normpath(path).split("/")[0] == ".."
    return outside or path.startswith("/") or "\0" in path or _SCHEME.match(path) is not None


def names_beside(uri: str, library: str) -> list[str]:
    """Names of a texture that a material library names: beside the library, else beside the mesh."""
    folder = posixpath.dirname(library)
    beside = names_of(f"{folder}/{uri}", library) if folder and not _leads_out(uri) else []
    return beside + [name for name in names_of(uri, library) if name not in beside]


def decoded(text: bytes) -> str:
    """UTF-8, or else Latin-1, which takes any byte: names that differ stay different."""
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def gltf_references(document: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """(uri, is it needed) of each buffer and image outside the file."""
    for field, needed in (("buffers", True), ("images", False)):
        for entry in document.get(field) or []:
            uri = entry.get("uri")
            if uri and not is_embedded(uri) and not formats.is_fallback(entry):
                yield uri, needed


def obj_libraries(data: bytes) -> list[str]:
    """Names after `mtllib`: one with spaces, or several that each end in .mtl."""
    names: list[str] = []
    if b"mtllib" not in data:
        return names
    for line in re.findall(rb"(?:^|\r)(?:\xef\xbb\xbf)?[ \t]*mtllib[ \t]+([^\r\n]+)", data, re.MULTILINE):
        names += re.split(r"(?<=\.mtl)\s+", decoded(line).strip().strip('"'), flags=re.IGNORECASE)
    return list(dict.fromkeys(names))


def ply_textures(data: bytes) -> list[str]:
    """Names that a PLY header gives in comments, as MeshLab writes them."""
    header = decoded(data[: max(data.find(b"end_header"), 0)])
    return re.findall(r"^comment[ \t]+TextureFile[ \t]+(.+?)[ \t\r]*$", header, re.MULTILINE | re.IGNORECASE)


def mtl_lines(data: bytes) -> Iterator[tuple[str, str]]:
    """(keyword in small letters, what follows it) of each line of a material library."""
    for line in re.split(r"[\r\n]+", decoded(data)):
        keyword, _, rest = line.strip().replace("\t", " ").partition(" ")
        if rest.strip():
            yield keyword.lower(), rest.strip()


def mtl_textures(data: bytes) -> Iterator[str]:
    """The file name of each texture line of a material library."""
    for keyword, rest in mtl_lines(data):
        if _MTL_TEXTURES.match(keyword):
            yield texture_line(rest)[0]


def texture_line(text: str) -> tuple[str, dict[str, list[str]]]:
    """The file name at the end of a texture line, which may have spaces in it, and the words of each option before."""
    rest = text.strip()
    options: dict[str, list[str]] = {}
    while rest.startswith("-"):
        option, _, after = rest.partition(" ")
        if option.lower() not in _MTL_OPTIONS:
            break
        rest = after.lstrip()
        words = options[option.lower()] = []
        for _ in range(_MTL_OPTIONS[option.lower()]):
            word, _, after = rest.partition(" ")
            if option.lower() in ("-o", "-s", "-t") and not _NUMBER.fullmatch(word):
                break
            words.append(word)
            rest = after.lstrip()
    return rest.strip('"'), options

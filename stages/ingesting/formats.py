"""Which format a file is, judged by its content, and whether what its header claims can be true of its size.

A header is a claim by a stranger: a reader that believes "four billion vertices" takes the memory first. Each check
here costs a few reads of the header and compares the claim with the bytes that are there.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any

from stages.contract.stage import StageError

FORMATS = ("glb", "gltf", "obj", "ply", "stl", "off")
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")  # one and its successor: alike to a reader
_PLY_BYTES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4, "double": 8, "float64": 8,
}  # fmt: skip
_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_UNBACKED_ACCESSOR = 10_000_000  # elements of an accessor without a view of its own: zeros, or compressed elsewhere
_OBJ_LINE = re.compile(rb"^[ \t]*(v|vn|vt|f|o|g|s|mtllib|usemtl)[ \t]+\S", re.MULTILINE)
# what is often met under the name of a mesh or an image
_OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"), (b"<!doctype html", "a web page"),
    (b"<html", "a web page"), (b"pk\3\4", "a zip archive"), (b"\x1f\x8b", "gzip"), (b"kaydara fbx", "FBX"),
    (b"blender", "a Blender file"), (b"\xff\xfe", "UTF-16 text"), (b"\xfe\xff", "UTF-16 text"),
)  # fmt: skip
_OFF_WORD = re.compile(r"^(ST)?(C)?(N)?(4)?OFF\b", re.IGNORECASE)


def sniff(data: bytes, name: str) -> str:
    """One of FORMATS. The extension decides nothing but what to say when no format fits."""
    if not data:
        raise StageError("empty_file", f"{name} has 0 bytes")
    head = data[:65536].removeprefix(b"\xef\xbb\xbf")
    start = head.lstrip()
    if head.startswith(b"glTF"):
        return "glb"
    if re.match(rb"ply[ \t]*[\r\n]", head):
        return "ply"
    if start.startswith(b"{") and b'"asset"' in data:
        return "gltf"
    if len(data) >= 84 and 84 + 50 * struct.unpack_from("<I", data, 80)[0] == len(data):
        return "stl"
    if start[:5].lower() == b"solid" and (b"facet" in head or b"endsolid" in head):
        return "stl"
    if _OFF_WORD.match(_without_comments(start[:4096])):
        return "off"
    if b"\0" not in head and _OBJ_LINE.search(head):
        return "obj"
    extension = name.rsplit(".", 1)[-1].lower()
    if extension == "stl" and len(data) >= 84 and b"\0" in head:
        return "stl"  # a binary one whose count is wrong; check() says so
    if extension in FORMATS:
        raise StageError("corrupt_file", f"{name} is named .{extension} but is none inside ({guess(data)})")
    raise StageError("unknown_format", f"{name} is none of {', '.join(FORMATS)} ({guess(data)})")


def guess(data: bytes) -> str:
    """What a file seems to be that is none of those that are read, for messages."""
    start = data[:32].lstrip().lower()
    known = [f", {what}" for mark, what in _OTHERS if start.startswith(mark)]
    return f"starts {data[:12]!r}{''.join(known)}"


def check(data: bytes, form: str, name: str) -> dict[str, Any] | None:
    """Refuse a header whose claims the file cannot hold. The document, where the format has one."""
    if form == "glb":
        return _gltf_document(glb_chunks(data, name)[0], name)
    if form == "gltf":
        return _gltf_document(data, name)
    if form == "ply":
        _check_ply(data, name)
    elif form == "stl":
        _check_stl(data, name)
    elif form == "off":
        _check_off(data, name)
    return None


def glb_chunks(data: bytes, name: str) -> tuple[bytes, bytes | None]:
    """The JSON and the binary chunk of a GLB file."""
    if len(data) < 20:
        raise StageError("corrupt_file", f"{name}: a GLB of {len(data)} bytes is cut short")
    version, length, json_length, kind = struct.unpack_from("<IIII", data, 4)
    if version != 2:
        raise StageError("unsupported", f"{name} is glTF {version}; version 2 is read")
    if length > len(data) or 20 + json_length > length or kind != 0x4E4F534A:
        raise StageError("corrupt_file", f"{name}: the header claims {length:,} bytes, the file has {len(data):,}")
    start = 20 + json_length
    if start + 8 > length:
        return data[20:start], None
    binary_length, kind = struct.unpack_from("<II", data, start)
    if kind != 0x004E4942:
        return data[20:start], None
    if start + 8 + binary_length > len(data):
        raise StageError("corrupt_file", f"{name}: its binary chunk claims {binary_length:,} bytes past the end")
    return data[20:start], data[start + 8 : start + 8 + binary_length]


def _gltf_document(text: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(text.decode("utf-8-sig").rstrip("\0 "))
    except (ValueError, RecursionError) as error:
        raise StageError("corrupt_file", f"{name}: its JSON cannot be read ({error})") from None
    asset = document.get("asset") if isinstance(document, dict) else None
    if not isinstance(asset, dict):
        raise StageError("corrupt_file", f"{name}: its JSON has no asset")
    if str(asset.get("version", "2.0")).split(".")[0] != "2":
        raise StageError("unsupported", f"{name} is glTF {asset['version']}; version 2 is read")
    for field in ("buffers", "images"):
        entries = document.get(field) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise StageError("corrupt_file", f"{name}: {field} is no list of objects")
        if not all(isinstance(entry.get("uri") or "", str) for entry in entries):
            raise StageError("corrupt_file", f"{name}: a uri in {field} is no text")
    return document


def meshopt(entry: dict[str, Any]) -> dict[str, Any] | None:
    """What meshopt compression says of a buffer view (where its bytes are), or of a buffer (that it has none)."""
    extensions = entry.get("extensions")
    found = [extensions[name] for name in MESHOPT if name in extensions] if isinstance(extensions, dict) else []
    return found[0] if found and isinstance(found[0], dict) else None


def is_fallback(buffer: dict[str, Any]) -> bool:
    """Whether a buffer only repeats what compressed views hold; it may have no bytes, and is never read."""
    return bool((meshopt(buffer) or {}).get("fallback"))


def check_gltf(document: dict[str, Any], buffer_bytes: list[int | None], name: str) -> None:
    """Views lie inside their buffers, accessors inside their views. buffer_bytes: what each buffer really has."""
    try:
        views = document.get("bufferViews") or []
        for index, view in enumerate(views):
            packed = meshopt(view)
            place = packed or view
            size = buffer_bytes[place["buffer"]]
            if size is not None and place.get("byteOffset", 0) + place["byteLength"] > size:
                raise StageError(
                    "corrupt_file", f"{name}: bufferView {index} reaches past its buffer of {size:,} bytes"
                )
            if packed and packed["count"] * packed["byteStride"] < view["byteLength"]:
                raise StageError("corrupt_file", f"{name}: bufferView {index} claims more than it is unpacked to")
        for index, accessor in enumerate(document.get("accessors") or []):
            _check_accessor(accessor, index, views, name)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise StageError("corrupt_file", f"{name}: broken buffers or accessors ({error!r})") from None


def _check_accessor(accessor: dict[str, Any], index: int, views: list[Any], name: str) -> None:
    count = accessor["count"]
    if "bufferView" not in accessor:
        if not 0 <= count <= _UNBACKED_ACCESSOR:
            raise StageError("too_large", f"{name}: accessor {index} claims {count:,} elements and has no data")
        return
    view = views[accessor["bufferView"]]
    element = _COMPONENT_BYTES[accessor["componentType"]] * _COMPONENTS[accessor["type"]]
    stride = view.get("byteStride") or element
    needed = accessor.get("byteOffset", 0) + (count - 1) * stride + element if count else 0
    if count < 0 or stride < 0 or needed > view["byteLength"]:
        raise StageError(
            "corrupt_file", f"{name}: accessor {index} claims {count:,} elements, more than its view holds"
        )


def _check_ply(data: bytes, name: str) -> None:
    end = re.search(rb"end_header[ \t]*\r?\n?", data[: 1 << 20])
    if end is None:
        raise StageError("corrupt_file", f"{name}: a PLY header without end_header")
    text = data[: end.start()].decode("latin-1")
    binary = re.search(r"^format[ \t]+binary", text, re.MULTILINE) is not None
    count, row, needed, element = 0, 0, 0, ""
    for words in [line.split() for line in text.splitlines()] + [["element", "", "0"]]:
        if words[:1] == ["element"]:
            needed += count * row
            if count and needed > len(data) - end.end() + (not binary):  # nothing need part the last word
                raise StageError("corrupt_file", f"{name} claims {count:,} of {element}, more than its bytes hold")
            if len(words) != 3 or not re.fullmatch("[0-9]{1,18}", words[2]):
                raise StageError("corrupt_file", f"{name}: {' '.join(words)[:80]!r} is no element of a PLY header")
            element, count, row = words[1], int(words[2]), 0
        elif words[:1] == ["property"]:
            row += _PLY_BYTES.get(words[2 if words[1:2] == ["list"] else 1], 1) if binary and len(words) > 2 else 2


def _check_stl(data: bytes, name: str) -> None:
    if b"\0" not in data[:1024] and data[:1024].lstrip()[:5].lower() == b"solid":
        return  # ascii: nothing is claimed ahead
    count = struct.unpack_from("<I", data, 80)[0]
    if 84 + 50 * count > len(data):
        raise StageError(
            "corrupt_file", f"{name} claims {count:,} triangles, {84 + 50 * count:,} bytes; it has {len(data):,}"
        )


def _check_off(data: bytes, name: str) -> None:
    words = _OFF_WORD.sub("", _without_comments(data[:65536]), count=1).split(maxsplit=3)
    if words[:1] == ["BINARY"]:
        raise StageError("unsupported", f"{name} is binary OFF; the text form is read")
    try:
        vertices, faces = int(words[0]), int(words[1])
    except (ValueError, IndexError):
        raise StageError("corrupt_file", f"{name}: an OFF header without its counts") from None
    if vertices < 0 or faces < 0 or vertices * 6 + faces * 2 > len(data):  # "0 0 0\n" and "0\n" are the shortest
        raise StageError("corrupt_file", f"{name} claims {vertices:,} vertices, {faces:,} faces in {len(data):,} bytes")


def _without_comments(data: bytes) -> str:
    return re.sub(r"#[^\n]*", "", data.decode("latin-1")).lstrip()

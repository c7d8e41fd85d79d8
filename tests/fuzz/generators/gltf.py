"""Hostile glTF and GLB: any value of the document, its structure and extensions, the chunks, and the binary data."""

from __future__ import annotations

import base64
import copy
import json
import re
import struct
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

from tests.fuzz.generators.noise import harmed
from tests.fuzz.generators.values import NUMBERS, TEXTS, Token, any_value, floats, some
from tests.fuzz.seeds import Files, seeds

Place = tuple[Any, Any]  # a list or an object, and an index or a key of it

_INDICES = (
    "scene", "nodes", "children", "mesh", "skin", "joints", "skeleton", "material", "indices", "bufferView", "buffer",
    "index", "source", "sampler", "texCoord", "POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0", "inverseBindMatrices",
)  # fmt: skip
_EXTENSIONS = {  # with settings that make sense, which are then changed
    "KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}},
    "EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 0, "ROTATION": 0, "SCALE": 0}},
    "KHR_texture_transform": {"offset": [0, 0], "rotation": 1, "scale": [2, 2], "texCoord": 1},
    "KHR_texture_basisu": {"source": 0}, "EXT_texture_webp": {"source": 0}, "EXT_texture_avif": {"source": 0},
    "KHR_materials_unlit": {}, "KHR_materials_emissive_strength": {"emissiveStrength": 2},
    "KHR_materials_transmission": {"transmissionFactor": 1},
    "KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [1, 0, 0, 1], "diffuseTexture": {"index": 0}},
    "EXT_meshopt_compression": {
        "buffer": 0, "byteLength": 8, "byteStride": 4, "count": 4, "mode": "ATTRIBUTES", "filter": "NONE",
    },
}  # fmt: skip


@cache
def documents() -> list[tuple[dict[str, Any], bytes, Files]]:
    """The document, the binary data and the other files of each seed."""
    found = []
    for files in seeds("gltf"):
        name = next(iter(files))
        data, rest = files[name], {other: files[other] for other in list(files)[1:]}
        if name.endswith(".glb"):
            length = int.from_bytes(data[12:16], "little")
            found.append((json.loads(data[20 : 20 + length]), data[28 + length :], rest))
        else:
            found.append((json.loads(data), b"", rest))
    return found


def any_document(random: Random) -> tuple[dict[str, Any], bytes, Files]:
    document, binary, rest = random.choice(documents())
    return copy.deepcopy(document), binary, dict(rest)


def text_of(document: Any) -> bytes:
    """The document as JSON, with tokens as they are."""
    return re.sub(r'"@token:([-+.\w]*)@"', r"\1", json.dumps(_marked(document))).encode()


def _marked(value: Any) -> Any:
    if isinstance(value, Token):
        return f"@token:{value}@"
    if isinstance(value, dict):
        return {name: _marked(inner) for name, inner in value.items()}
    return [_marked(inner) for inner in value] if isinstance(value, list) else value


def written(random: Random, document: Any, binary: bytes, rest: Files) -> Files:
    """As GLB, or as glTF with its first buffer in a data URI or beside it."""
    if rest or not binary or random.random() < 0.6:
        name = "mesh.gltf" if rest or not binary else "mesh.glb"
        text = text_of(document)
        return {name: text if name == "mesh.gltf" else glb((0x4E4F534A, text), (0x004E4942, binary)), **rest}
    uri, files = "data:application/octet-stream;base64," + base64.b64encode(binary).decode(), {}
    if random.random() < 0.3:
        uri, files = "all.bin", {"all.bin": binary}
    buffers = document.get("buffers") if isinstance(document, dict) else None
    if isinstance(buffers, list) and buffers and isinstance(buffers[0], dict):
        buffers[0].setdefault("uri", uri)
    return {"mesh.gltf": text_of(document), **files}


def glb(*chunks: tuple[int, bytes], version: int = 2, length: int | None = None) -> bytes:
    body = b""
    for kind, data in chunks:
        data += (b" " if kind == 0x4E4F534A else b"\0") * (-len(data) % 4)
        body += struct.pack("<II", len(data), kind) + data
    return b"glTF" + struct.pack("<II", version, 12 + len(body) if length is None else length) + body


def places(value: Any) -> Iterator[Place]:
    """Every field and entry of a document."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def types(random: Random) -> Files:
    """Fields that have another type or an extreme value."""
    document, binary, rest = any_document(random)
    for _ in range(some(random, 4)):
        holder, key = random.choice(list(places(document)))
        old = holder[key]
        if isinstance(old, int | float) and random.random() < 0.5:
            holder[key] = random.choice((old + 1, old - 1, -old, float(old), old * 1024, bool(old), [old], str(old)))
        else:
            holder[key] = random.choice(([old], any_value(random), any_value(random), any_value(random)))
    return written(random, document, binary, rest)


def fields(random: Random) -> Files:
    """Fields that are deleted, exchanged, renamed or repeated."""
    document, binary, rest = any_document(random)
    for _ in range(some(random, 4)):
        holder, key = random.choice(list(places(document)))
        kind = random.randrange(4)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other, name = random.choice(list(places(document)))
            holder[key], other[name] = copy.deepcopy(other[name]), copy.deepcopy(holder[key])
        elif kind == 2 and isinstance(holder, dict):
            names = [place[1] for place in places(document) if isinstance(place[1], str)]
            holder[random.choice((*names, *TEXTS[:12]))] = holder.pop(key)
        elif isinstance(holder, list):
            holder += [copy.deepcopy(holder[key])] * random.choice((1, 2, 300))
        else:
            holder[key] = [copy.deepcopy(holder[key]) for _ in range(3)]
    return written(random, document, binary, rest)


def graph(random: Random) -> Files:
    """Indices that lead elsewhere: to what is missing, to another kind, in circles."""
    document, binary, rest = any_document(random)
    found = [place for place in places(document) if _is_index(*place)]
    for holder, key in random.choices(found, k=some(random, 6)) if found else ():
        holder[key] = random.choice((0, 1, 2, 3, 5, -1, 99, True, 1.0, random.choice(NUMBERS)))
    nodes = document.get("nodes") or [{}]
    for _ in range(random.randrange(3)):
        node = random.choice(nodes)
        numbers = [random.randrange(-1, len(nodes) + 1) for _ in range(random.choice((1, 2, 50)))]
        node[random.choice(("children", "children", "weights"))] = numbers
    if random.random() < 0.3:
        document["skins"] = [{"joints": [random.randrange(len(nodes) + 1) for _ in range(3)], "inverseBindMatrices": 0}]
        random.choice(nodes)["skin"] = random.choice((0, 0, 1, -1))
    return written(random, document, binary, rest)


def _is_index(holder: Any, key: Any) -> bool:
    return isinstance(holder[key], int) and (key in _INDICES or isinstance(holder, list))


def extensions(random: Random) -> Files:
    """Extensions where they belong and where they do not, whose settings are changed."""
    document, binary, rest = any_document(random)
    holders = [holder for holder, _ in places(document) if isinstance(holder, dict)]
    for _ in range(some(random, 3)):
        name = random.choice(list(_EXTENSIONS))
        settings = copy.deepcopy(_EXTENSIONS[name])
        for place in random.sample(list(places(settings)), min(random.randrange(3), len(list(places(settings))))):
            place[0][place[1]] = any_value(random)
        holder = random.choice(holders)
        given = holder.get("extensions")
        holder["extensions"] = {**(given if isinstance(given, dict) else {}), name: settings}
    if random.random() < 0.2:
        document["extensionsRequired"] = [any_value(random), random.choice(list(_EXTENSIONS))]
    return written(random, document, binary, rest)


def accessors(random: Random) -> Files:
    """Accessors and views whose numbers do not fit each other, with sparse parts and without views."""
    document, binary, rest = any_document(random)
    entries = [entry for field in ("accessors", "bufferViews", "buffers") for entry in document.get(field) or []]
    for entry in random.choices(entries, k=some(random, 5)):
        kind = random.randrange(6)
        if kind < 3:
            name = random.choice(("count", "byteOffset", "byteLength", "byteStride", "componentType", "buffer"))
            entry[name] = random.choice(
                (*NUMBERS, 5120, 5121, 5122, 5123, 5125, 5126, 5130, len(binary), len(binary) + 1)
            )
        elif kind == 3:
            entry["type"] = random.choice(("SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4", "VEC5", 3))
            entry["normalized"] = random.choice((True, False, 1, "yes"))
        elif kind == 4:
            entry.pop("bufferView", None)
            entry["count"] = random.choice((0, 1, 24, 36, 100_000, 9_999_999, 10_000_001))
        else:
            part = {"bufferView": random.randrange(3), "byteOffset": random.choice((0, 1, 2, -2, 1 << 40))}
            indices = part | {"componentType": random.choice((5121, 5123, 5125, 5126))}
            entry["sparse"] = {"count": random.choice((0, 1, 3, -1, 25, 1 << 40)), "indices": indices, "values": part}
    return written(random, document, binary, rest)


def chunks(random: Random) -> Files:
    """GLB files whose lengths and chunks are wrong, missing, repeated or in another order."""
    document, binary, rest = any_document(random)
    parts = [(0x4E4F534A, text_of(document)), (0x004E4942, binary)]
    kind = random.randrange(5)
    if kind == 0:
        parts = random.choices(parts, k=random.randrange(5))
    elif kind == 1:
        parts.insert(random.randrange(3), (random.choice((0, 0x4E4F534A, 0xFFFFFFFF)), random.randbytes(12)))
    data = bytearray(glb(*parts, version=random.choice((2, 2, 2, 0, 1, 3, 0xFFFFFFFF))))
    for _ in range(random.randrange(3)):
        position = random.choice((4, 8, 12, 16, 20 + len(parts[0][1]) if parts else 12))
        wrong = random.choice((0, 1, 11, 12, len(data) - 1, len(data) + 1, 0x7FFFFFFF, 0xFFFFFFFF))
        data[position : position + 4] = (wrong & 0xFFFFFFFF).to_bytes(4, "little")
    if kind == 2:
        del data[random.randrange(len(data)) :]
    return {"mesh.glb": bytes(data), **rest}


def text(random: Random) -> Files:
    """JSON that is written strangely: fields twice, other encodings, comments, escapes, deep nesting."""
    document, binary, rest = any_document(random)
    data = text_of(document).decode()
    kind = random.randrange(8)
    if kind == 0:
        name = random.choice(list(document))
        data = data[:-1] + f', "{name}": {text_of(any_value(random)).decode()}}}'
    elif kind == 1:
        encoded = data.encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-le")))
        return {"mesh.gltf": encoded, **rest}
    elif kind == 2:
        depth = random.choice((50, 900, 5000, 200_000))
        opened, closed = random.choice((("[", "]"), ('{"a":', "}")))
        data = data[:-1] + f', "extras": {opened * depth}{"1" if closed == "}" else ""}{closed * depth}}}'
    elif kind == 3:
        data = data.replace('"', random.choice(("'", '\\"', "“")), random.randrange(1, 20))
    elif kind == 4:
        data = data.replace(",", random.choice((",,", ", /* a */", ";", "\0,")), random.randrange(1, 20))
    elif kind == 5:
        data = data.replace("e", random.choice(("\\u0065", "\\ud800", "\\x65", "\\")), random.randrange(1, 5))
    elif kind == 6:
        data = (
            random.choice(("\ufeff", " " * 70_000, "\n", "[", "\0")) + data + random.choice(("", "]", "\0" * 9, "{}"))
        )
    else:
        return {"mesh.gltf": harmed(data.encode(), random, b'"bufferView":"uri":[0,-1]'), **rest}
    return written_text(data.encode(), binary, rest)


def written_text(data: bytes, binary: bytes, rest: Files) -> Files:
    return (
        {"mesh.gltf": data, **rest}
        if rest or not binary
        else {"mesh.glb": glb((0x4E4F534A, data), (0x004E4942, binary))}
    )


def data(random: Random) -> Files:
    """Binary data with numbers that no exporter writes: NaN, infinity, indices out of range."""
    document, binary, rest = any_document(random)
    changed = bytearray(binary)
    for _ in range(some(random, 4)):
        start = random.randrange(0, max(len(changed) - 64, 1), 4)
        values = floats(random, random.choice((1, 4, 16)))
        changed[start : start + values.nbytes] = values.tobytes()
    return written(random, document, bytes(changed), rest)


GENERATORS: dict[str, Callable[[Random], Files]] = {
    make.__name__: make for make in (types, fields, graph, extensions, accessors, chunks, text, data)
}

"""Hostile PLY: headers that do not fit their bodies, lists of any length, odd types, and textures."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.fuzz.generators.noise import harmed
from tests.fuzz.generators.values import WORDS, some
from tests.fuzz.seeds import Files, picture, seeds
from tests.stages.meshes import cube

_TYPES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
_NAMES = (
    "x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "alpha", "u", "v", "s", "t", "texture_u", "texture_v",
    "texnumber", "texcoord", "vertex_indices", "vertex_index", "f_dc_0", "opacity", "rot_0", "scale_0",
    "packed_position", "", "é",
)  # fmt: skip
_COUNTS = (b"0", b"1", b"-1", b"23", b"25", b"11", b"13", b"65536", b"4294967296", b"999999999999999999", *WORDS[:12])


@dataclass
class Element:
    name: str
    rows: list[list[object]]
    properties: list[str]  # the words after `property`
    count: bytes = b""  # what the header says instead of the number of rows


@dataclass
class Ply:
    form: str = "ascii"
    elements: list[Element] = field(default_factory=list)
    comments: list[bytes] = field(default_factory=list)
    line_end: bytes = b"\n"

    def header(self) -> list[bytes]:
        lines = [b"ply", b"format %b 1.0" % self.form.encode(), *self.comments]
        for element in self.elements:
            count = element.count or str(len(element.rows)).encode()
            lines.append(b"element %b %b" % (element.name.encode(), count))
            lines += [b"property " + words.encode() for words in element.properties]
        return [*lines, b"end_header"]

    def body(self) -> bytes:
        rows = [(row, element.properties) for element in self.elements for row in element.rows]
        if not self.form.startswith("binary"):
            return b"".join(b" ".join(_words(row)) + self.line_end for row, _ in rows)
        order = ">" if "big" in self.form else "<"
        return b"".join(_packed(row, properties, order) for row, properties in rows)

    def data(self) -> bytes:
        return self.line_end.join(self.header()) + self.line_end + self.body()


def _words(row: list[object]) -> list[bytes]:
    flat: list[bytes] = []
    for value in row:
        values = [len(value), *value] if isinstance(value, list) else [value]
        flat += [each if isinstance(each, bytes) else str(each).encode() for each in values]
    return flat


def _packed(row: list[object], properties: list[str], order: str) -> bytes:
    packed = b""
    for value, words in zip(row, properties, strict=False):
        kinds = words.split()
        if isinstance(value, list):
            packed += _number(order, "".join(kinds[1:2]), len(value))
            packed += b"".join(_number(order, "".join(kinds[2:3]), each) for each in value)
        else:
            packed += _number(order, "".join(kinds[:1]), value)
    return packed


def _number(order: str, kind: str, value: object) -> bytes:
    letter = _TYPES.get(kind, "B")
    try:
        number: Any = value
        return struct.pack(order + letter, float(number) if letter in "fd" else int(number))
    except (struct.error, ValueError, OverflowError):
        return b"\xff" * struct.calcsize(letter)


def any_ply(random: Random) -> Ply:
    positions, normals, uv, faces = cube()
    properties, columns = [f"float {axis}" for axis in "xyz"], [positions.tolist()]
    if random.random() < 0.5:
        properties += ["float nx", "float ny", "float nz"]
        columns.append(normals.tolist())
    if random.random() < 0.5:
        properties += ["float s", "float t"]
        columns.append(uv.tolist())
    vertices: list[list[object]] = [sum(parts, []) for parts in zip(*columns, strict=True)]
    if random.random() < 0.5:
        properties += [f"uchar {name}" for name in ("red", "green", "blue", "alpha")[: random.choice((3, 4))]]
        vertices = [[*row, *(random.randrange(256) for _ in properties[-4:] if "uchar" in _)] for row in vertices]
    corners: list[list[object]] = [[face] for face in faces.tolist()]
    about = [f"list {random.choice(('uchar', 'int', 'uint'))} {random.choice(('int', 'uint'))} vertex_indices"]
    if random.random() < 0.3:
        about += ["list uchar float texcoord", "int texnumber"]
        corners = [[*row, [0.0, 0.0, 1.0, 0.0, 1.0, 1.0], random.randrange(-1, 3)] for row in corners]
    made = Ply(random.choice(("ascii", "binary_little_endian", "binary_big_endian")))
    made.elements = [Element("vertex", vertices, properties), Element("face", corners, about)]
    if random.random() < 0.4:
        made.comments = [b"comment TextureFile skin.png"] * random.choice((1, 2, 3))
    return made


def header(random: Random) -> Files:
    """Headers whose counts, types, names and order are changed before they are written."""
    made = any_ply(random)
    for _ in range(some(random, 4)):
        element = random.choice(made.elements)
        kind = random.randrange(8)
        if kind == 0:
            element.count = random.choice(_COUNTS)
        elif kind == 1 and element.properties:
            words = element.properties[random.randrange(len(element.properties))].split()
            words[random.randrange(len(words))] = random.choice((*_TYPES, "list", "int128", *_NAMES))
            element.properties[random.randrange(len(element.properties))] = " ".join(words)
        elif kind == 2:
            name = random.choice(_NAMES)
            extra = random.choice((f"float {name}", f"list uchar int {name}", f"list float float {name}", name))
            element.properties.insert(random.randrange(len(element.properties) + 1), extra)
        elif kind == 3:
            element.name = random.choice(("vertex", "face", "tristrips", "edge", "", "é", "x" * 5000))
        elif kind == 4:
            random.shuffle(made.elements)
        elif kind == 5:
            made.elements.append(Element(element.name, element.rows[: random.randrange(3)], list(element.properties)))
        elif kind == 6:
            made.form = random.choice(("ascii", "binary_little_endian", "binary_big_endian", "binary", "", "ascii x"))
        else:
            random.shuffle(element.properties)
    return {"mesh.ply": made.data(), "skin.png": picture()}


def lines(random: Random) -> Files:
    """Header lines that are doubled, cut, exchanged, or not what a header has."""
    made = any_ply(random)
    found = made.header()
    strange = (
        b"comment", b"comment TextureFile", b"comment TextureFile ../../skin.png", b"comment TextureFile /etc/passwd",
        b"comment TextureFile mesh.ply", b"comment texturefile skin.png ", b"obj_info a", b"element", b"element face",
        b"property", b"property list", b"property list uchar", b"end_header", b"end_header ", b"ply", b"", b"\0",
        b"element vertex 1e9", b"comment TextureFile a" + b" " * 300 + b"b", b"x" * 70_000, b"format ascii 1.0",
    )  # fmt: skip
    for _ in range(some(random, 4)):
        position = random.randrange(1, len(found))
        kind = random.randrange(4)
        if kind == 0:
            found.insert(position, random.choice(strange))
        elif kind == 1 and len(found) > 2:
            del found[position]
        elif kind == 2:
            words = found[position].split(b" ")
            words[random.randrange(len(words))] = random.choice(WORDS)
            found[position] = b" ".join(words)
        else:
            found.insert(random.randrange(len(found)), found[position])
    line_end = random.choice((b"\n", b"\r\n", b"\r", b"\n\n", b" \n"))
    return {"mesh.ply": line_end.join(found) + line_end + made.body(), "skin.png": picture()}


def body(random: Random) -> Files:
    """Rows with lists of any length, indices and coordinates of any size."""
    made = any_ply(random)
    for _ in range(some(random, 6)):
        element = random.choice(made.elements)
        row = random.choice(element.rows)
        column = random.randrange(len(row))
        value = row[column]
        if isinstance(value, list):
            wrong = random.choice(([], [0], [0, 1], value * random.choice((2, 80, 300)), [-1] * 3, [1 << 40] * 3))
            row[column] = [*value[:2], random.choice((24, -1, 1 << 31, 1e30))] if random.random() < 0.3 else wrong
        else:
            row[column] = random.choice((*WORDS[:20], 1e30, -1, 1 << 31))
    data = made.data()
    return {"mesh.ply": harmed(data, random) if random.random() < 0.2 else data, "skin.png": picture()}


def splices(random: Random) -> Files:
    """The header of one seed before the body of another."""
    first, second = (random.choice(seeds("ply"))["mesh.ply"] for _ in range(2))
    mark = b"end_header\n"
    return {"mesh.ply": first[: first.index(mark) + len(mark)] + second[second.index(mark) + random.randrange(9, 20) :]}


GENERATORS: dict[str, Callable[[Random], Files]] = {make.__name__: make for make in (header, lines, body, splices)}

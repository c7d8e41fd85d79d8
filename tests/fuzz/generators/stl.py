"""Hostile STL: wrong counts, text that looks binary and the reverse, odd numbers, colours in the header."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from tests.fuzz.generators.noise import harmed
from tests.fuzz.generators.values import WORDS, floats, some
from tests.fuzz.seeds import Files
from tests.stages.meshes import stl_cube

_HEADERS = (
    b"", b"solid", b"solid facet", b"COLOR=\xff\0\0\xff", b"COLOR=", b"x" * 74 + b"COLOR=", b"solid\0",
    b"\n", b"glTF", b"ply\n",
)  # fmt: skip


def binary(random: Random) -> Files:
    """Triangles of odd numbers under headers that promise others."""
    count = random.choice((0, 1, 2, 12, 13))
    body = b"".join(
        floats(random, 12).tobytes() + struct.pack("<H", random.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF)))
        for _ in range(count)
    )
    declared = random.choice((count, count, count, count + 1, max(count - 1, 0), 0, 0x7FFFFFFF, 0xFFFFFFFF))
    trailing = random.choice((b"", b"", b"\0", b"\0" * 50, b"endsolid", random.randbytes(49)))
    header = random.choice(_HEADERS)[:80].ljust(80, random.choice((b"\0", b" ")))
    return {"mesh.stl": header + struct.pack("<I", declared) + body + trailing}


def text(random: Random) -> Files:
    """Text whose words and lines are changed."""
    lines = stl_cube(binary=False).split(b"\n")
    for _ in range(some(random, 8)):
        position = random.randrange(len(lines))
        kind = random.randrange(5)
        if kind == 0:
            del lines[position]
        elif kind == 1:
            lines.insert(random.randrange(len(lines)), lines[position])
        elif kind == 2:
            lines[position] = random.choice(
                (b"vertex", b"vertex 1 2", b"vertex 1 2 3 4", b"endfacet", b"ENDSOLID", b"solid")
            )
        else:
            words = lines[position].split(b" ")
            words[random.randrange(len(words))] = random.choice(WORDS)
            lines[position] = b" ".join(words)
        lines = lines or [b"solid"]
    ends = random.choice((b"\n", b"\n", b"\r\n", b"\r", b" "))
    return {"mesh.stl": ends.join(lines)}


def confused(random: Random) -> Files:
    """Text within binary, binary within text."""
    first, second = (stl_cube(kind) for kind in random.sample((True, False), 2))
    position = random.choice((5, 80, 84, 134, random.randrange(len(first))))
    return {"mesh.stl": harmed(first[:position] + second, random, first)}


GENERATORS: dict[str, Callable[[Random], Files]] = {make.__name__: make for make in (binary, text, confused)}

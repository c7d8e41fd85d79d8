"""Hostile OFF: counts that do not fit, odd keywords, comments anywhere, colours and polygons of any kind."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.fuzz.generators.values import WORDS, some
from tests.fuzz.seeds import Files, seeds

_KEYWORDS = (
    b"OFF", b"COFF", b"NOFF", b"CNOFF", b"STOFF", b"STCNOFF", b"4OFF", b"nOFF", b"OFF BINARY", b"off",
    b"OFF24 6 0", b"OFFICE",
)  # fmt: skip


def header(random: Random) -> Files:
    """Other keywords and counts before the lines of a seed."""
    lines = random.choice(seeds("off"))["mesh.off"].split(b"\n")
    lines[0] = random.choice(_KEYWORDS)
    where = next(number for number, line in enumerate(lines) if line[:1].isdigit())
    words = lines[where].split()
    for _ in range(some(random, 3)):
        words[random.randrange(len(words))] = random.choice((*WORDS, b"23", b"25", b"5", b"7"))
    lines[where] = b" ".join(words)
    return {"mesh.off": random.choice((b"", b"# a\n", b"\xef\xbb\xbf", b"\n\n")) + b"\n".join(lines)}


def lines(random: Random) -> Files:
    """Lines that are changed, repeated, dropped or commented out."""
    found = random.choice(seeds("off"))["mesh.off"].split(b"\n")
    for _ in range(some(random, 6)):
        position = random.randrange(len(found))
        kind = random.randrange(5)
        if kind == 0 and len(found) > 1:
            del found[position]
        elif kind == 1:
            found.insert(random.randrange(len(found)), found[position])
        elif kind == 2:
            found[position] += random.choice((b" #", b" # 1 2 3", b" 255 0 0 255", b" 0.5 nan 1", b" 1", b"#" * 999))
        else:
            words = found[position].split(b" ")
            words[random.randrange(len(words))] = random.choice(WORDS)
            found[position] = b" ".join(words)
    return {"mesh.off": random.choice((b"\n", b"\n", b"\r\n", b"\r", b"\n#\n")).join(found)}


def polygons(random: Random) -> Files:
    """Faces with many corners, few, or none, and with vertices that there are not."""
    count = random.choice((3, 8, 300))
    vertices = [b"%f %f %f" % tuple(random.uniform(-1, 1) for _ in range(3)) for _ in range(count)]
    faces = []
    for _ in range(some(random, 9)):
        corners = random.choice((0, 1, 2, 3, 4, 5, count))
        far = random.choice((-1, count, 1 << 31, 1 << 62))
        numbers = [random.randrange(count) if random.random() < 0.99 else far for _ in range(corners)]
        declared = random.choice((corners, corners, corners, corners + 1, -1, 1 << 40))
        faces.append(
            b"%d %b %b" % (declared, b" ".join(b"%d" % n for n in numbers), random.choice((b"", b"1 0 0", b"9")))
        )
    return {"mesh.off": b"\n".join((b"OFF", b"%d %d 0" % (count, len(faces)), *vertices, *faces))}


GENERATORS: dict[str, Callable[[Random], Files]] = {make.__name__: make for make in (header, lines, polygons)}

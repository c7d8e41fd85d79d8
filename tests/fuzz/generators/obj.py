"""Hostile OBJ and MTL: indices, polygons, numbers, names and options of any kind."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.fuzz.generators.values import TEXTS, WORDS, some
from tests.fuzz.seeds import Files, seeds

_KEYWORDS = (
    b"v", b"vt", b"vn", b"vp", b"f", b"l", b"p", b"o", b"g", b"s", b"usemtl", b"mtllib", b"curv", b"surf",
    b"call", b"F", b"#",
)  # fmt: skip
_MTL_KEYWORDS = (
    b"newmtl", b"Kd", b"Ke", b"Ka", b"Ks", b"d", b"Tr", b"illum", b"map_Kd", b"map_Ke", b"map_d", b"bump",
    b"refl", b"norm",
)  # fmt: skip
_OPTIONS = (b"-s", b"-o", b"-t", b"-clamp", b"-blendu", b"-bm", b"-mm", b"-imfchan", b"-type", b"-unknown", b"-", b"--")
_NAMES = tuple(text.encode("utf-8", "surrogatepass") for text in TEXTS if "\n" not in text and len(text) < 10_000)
_NAMES += (
    b"skin.png",
    b"cube.mtl",
    b"mesh.obj",
    b"SKIN.PNG",
    b'"skin.png"',
    b"./skin.png",
    b"a/../skin.png",
    b"a" * 300,
)
_LINE_ENDS = (b"\n", b"\r\n", b"\r", b"\n\n", b"\\\n", b" \\\r\n", b"\0\n", b"\x0b", b"\xe2\x80\xa8")


def _any_seed(random: Random, material: bool = False) -> Files:
    return dict(seeds("obj")[0] if material else random.choice(seeds("obj")))


def numbers(random: Random) -> Files:
    """Words that are not the numbers that a line should have."""
    files = _any_seed(random)
    lines = files["mesh.obj"].split(b"\n")
    for _ in range(some(random, 6)):
        position = random.randrange(len(lines))
        words = lines[position].split(b" ")
        words[random.randrange(len(words))] = random.choice(WORDS)
        lines[position] = b" ".join(words)
    return files | {"mesh.obj": b"\n".join(lines)}


def polygons(random: Random) -> Files:
    """Faces with few or many corners, with indices of any size and with slashes anywhere."""
    files = _any_seed(random)
    count = files["mesh.obj"].count(b"\nv ") + 1
    lines = []
    for _ in range(some(random, 8)):
        corners = random.choice((0, 1, 2, 3, 4, 5, 6, 9, 40, 400))
        form = random.choice((b"%d", b"%d/%d", b"%d//%d", b"%d/%d/%d", b"%d/", b"/%d", b"%d/%d/%d/%d", b"%d#%d"))
        near = [random.choice((random.randint(1, count), -random.randint(1, count))) for _ in range(corners)]
        far = (0, count + 1, -count - 1, 1 << 31, 1 << 62, -(1 << 63))
        numbers = [random.choice(far) if random.random() < 0.01 else number for number in near]
        lines.append(b"f " + b" ".join(form % ((number,) * form.count(b"%d")) for number in numbers))
    return files | {"mesh.obj": files["mesh.obj"] + b"\n" + b"\n".join(lines)}


def lines(random: Random) -> Files:
    """Lines that are repeated, cut, exchanged or ended strangely, with other keywords."""
    files = _any_seed(random)
    found = files["mesh.obj"].split(b"\n")
    for _ in range(some(random, 6)):
        position = random.randrange(len(found))
        kind = random.randrange(5)
        if kind == 0:
            found[position] = found[position][: random.randrange(len(found[position]) + 1)]
        elif kind == 1:
            found.insert(random.randrange(len(found)), found[position])
        elif kind == 2:
            found[position] = random.choice(_KEYWORDS) + b" " + found[position].partition(b" ")[2]
        elif kind == 3:
            found.insert(position, random.choice(_KEYWORDS) + b" " + random.choice((*WORDS, *_NAMES)))
        else:
            found[position] += random.choice(_LINE_ENDS) + random.choice(WORDS)
    ends = random.choice(_LINE_ENDS) if random.random() < 0.3 else b"\n"
    return files | {"mesh.obj": ends.join(found)}


def materials(random: Random) -> Files:
    """Libraries with odd numbers and options, and names that lead anywhere."""
    files = _any_seed(random, material=True)
    found = files["cube.mtl"].split(b"\n")
    for _ in range(some(random, 8)):
        options = b" ".join(random.choice((*_OPTIONS, *WORDS)) for _ in range(random.randrange(5)))
        keyword, name = random.choice(_MTL_KEYWORDS), random.choice((*_NAMES, b"skin.png", b"skin.png", b"1 0 0"))
        found.insert(random.randrange(len(found) + 1), b" ".join((keyword, options, name)))
    mesh = files["mesh.obj"]
    if random.random() < 0.5:
        name = random.choice(_NAMES)
        mesh = random.choice((b"mtllib " + name + b"\n" + mesh, mesh.replace(b"usemtl red", b"usemtl " + name)))
        found.append(b"newmtl " + name)
    return files | {"mesh.obj": mesh, "cube.mtl": random.choice((b"\n", b"\n", b"\r", b"\\\n")).join(found)}


GENERATORS: dict[str, Callable[[Random], Files]] = {
    make.__name__: make for make in (numbers, polygons, lines, materials)
}

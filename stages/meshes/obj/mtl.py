"""Take apart the lines of material libraries (MTL)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stages.contract.stage import StageError
from stages.meshes.mesh_file import Companion
from stages.meshes.references import decoded

_MOST_BYTES = 64 << 20  # of a library
_LONGEST = 8192  # characters of a line; a path has fewer
_TEXTURES = re.compile(r"^(map_\w+|bump|disp|decal|norm|refl)$")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# the most words that follow each option of a texture line; those of -o, -s and -t are numbers, and may be fewer
_OPTIONS = {
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-clamp": 1,
    "-bm": 1, "-imfchan": 1, "-type": 1, "-cc": 1,
}  # fmt: skip


def lines(data: bytes) -> Iterator[tuple[str, str]]:
    """(keyword in lower case, the rest) of each line, without a comment after it."""
    if len(data) > _MOST_BYTES:
        detail = f"a material library has {len(data):,} bytes; at most {_MOST_BYTES:,} are read"
        raise StageError("too_large", detail)
    for line in re.finditer(r"[^\r\n]+", decoded(data)):
        keyword, _, rest = line[0].strip()[:_LONGEST].replace("\t", " ").partition(" ")
        if rest := without_comment(rest):
            yield keyword.lower(), rest


def without_comment(text: str) -> str:
    """The text before a # between spaces; in a name, # has none around it."""
    return text.partition(" # ")[0].strip()


def companions(data: bytes) -> Iterator[Companion]:
    """The textures of a library."""
    for keyword, rest in lines(data):
        if _TEXTURES.match(keyword):
            yield Companion(texture_line(rest)[0])


def texture_line(text: str) -> tuple[str, dict[str, list[str]]]:
    """The file name on a texture line, which may contain spaces, and the words of each option before it or after it."""
    name, options = _options(text.strip())
    before, dash, after = name.partition(" -")
    if dash and "." in before and after.partition(" ")[0].lower() in {option[1:] for option in _OPTIONS}:
        name, options = before.strip(), options | _options(f"-{after}")[1]
    return name.strip('"'), options


def _options(rest: str) -> tuple[str, dict[str, list[str]]]:
    """What follows the options at the start of a text, and the words of each."""
    options: dict[str, list[str]] = {}
    while rest.startswith("-"):
        option, _, after = rest.partition(" ")
        option = option.lower()
        if option not in _OPTIONS:
            break
        rest = after.lstrip()
        words = options[option] = []
        for _ in range(_OPTIONS[option]):
            word, _, after = rest.partition(" ")
            if option in ("-o", "-s", "-t") and not _NUMBER.fullmatch(word):
                break
            words.append(word)
            rest = after.lstrip()
    return rest, options

"""A reference caption from an object's own columns: many ways to say the same true things."""

from __future__ import annotations

from typing import Any

import numpy as np

_NOUNS = {"striped": "stripes", "checked": "checks", "dotted": "dots", "zigzag": "zigzags", "gridded": "grid lines"}
_SEEN = {"wooden", "metal", "stone"}  # these show, so they are said more often
_SAID = {"plastic", "ceramic", "glass", "fabric", "wax", "felt", "rubber", "tin", "painted"}  # "a leaves tree" is not


def caption(columns: dict[str, Any], rng: np.random.Generator) -> str:
    """One phrase or sentence with the category, the main colour, the pattern where there is one, and more by chance."""

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    noun, color, second, pattern = (columns[name] for name in ("category", "color", "second_color", "pattern"))
    shape = columns["shape"] if columns["shape"] and chance(0.7) else ""
    material = columns["material"]
    material = material if chance(0.8 if material in _SEEN else 0.12 if material in _SAID else 0.0) else ""
    tails = [feature for feature in columns["features"] if chance(0.6)]
    if columns["trim"] and chance(0.75):
        named = columns["trim"].split()[-1]
        same = [tail for tail in tails if tail.split()[-1] == named]
        tails = [_colored(same[0] if same else columns["trim"], second), *(tail for tail in tails if tail not in same)]
    tails = tails[:2]
    way = int(rng.integers(4))
    if pattern == "plain":
        if way == 3:
            return _sentence(noun, color, shape, material, tails)
        return _with(_join("a", shape, color, material, noun), tails)
    if way == 0:
        return _with(_join("a", shape, color, material, noun), [f"{second} {_NOUNS[pattern]}", *tails[:1]])
    if way == 1:
        return _with(_join("a", shape, f"{color} and {second}", pattern, material, noun), tails)
    if way == 2:
        tail = f", with {_list(tails)}" if tails else ""
        return _join("a", shape, pattern, material, noun) + f" in {color} and {second}{tail}"
    return _sentence(noun, f"{color} with {second} {_NOUNS[pattern]}", shape, material, tails)


def name(columns: dict[str, Any]) -> str:
    """A short title: "red striped chair"."""
    pattern = "" if columns["pattern"] == "plain" else columns["pattern"]
    return " ".join(word for word in (columns["color"], pattern, columns["category"]) if word)


def _sentence(noun: str, look: str, shape: str, material: str, tails: list[str]) -> str:
    text = f"the {_join('', shape, material, noun)} is {look}"
    if not tails:
        return text
    return f"{text}{', and it' if ' with ' in look else ' and'} has {_list(tails)}"


def _colored(trim: str, color: str) -> str:
    """ "four legs" in red: "four red legs"; the colour stands before the first noun of two: "a red lid and handle" """
    joint = next((word for word in (" and ", " on ") if word in trim), "")
    first, _, other = trim.partition(joint) if joint else (trim, "", "")
    *before, noun = first.split()
    words = [*before, color, noun]
    if words[0] in ("a", "an"):
        words[0] = "an" if words[1][0] in "aeiou" else "a"
    return " ".join(words) + joint + other


def _with(head: str, tails: list[str]) -> str:
    return f"{head} with {_list(tails)}" if tails else head


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _join(article: str, *words: str) -> str:
    said = " ".join(word for word in words if word)
    if article:
        article = "an" if said[0] in "aeiou" else "a"
    return f"{article} {said}".strip()

"""Write texts about an object from its columns, in many ways that are all true.

`caption` and `name` are part of the corpus, whose bytes must not change. `phrase`, `description`, `tags` and `mention`
are only used to train the embedded models.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_NOUNS = {"striped": "stripes", "checked": "checks", "dotted": "dots", "zigzag": "zigzags", "gridded": "grid lines"}
_SEEN = {"wooden", "metal", "stone"}  # visible, so they are mentioned more often
_SAID = {"plastic", "ceramic", "glass", "fabric", "wax", "felt", "rubber", "tin", "painted"}  # not "a leaves tree"
_MADE = {"wooden": "wood", "painted": ""}  # the noun after "made of", if it differs


def caption(columns: dict[str, Any], rng: np.random.Generator) -> str:
    """A phrase or sentence with category, main colour and pattern, if there is one, and at random with more."""

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


def phrase(columns: dict[str, Any], rng: np.random.Generator) -> str:
    """A short phrase: a reference caption, or only category, colours and pattern."""
    if rng.random() < 0.6:
        return caption(columns, rng)
    noun, color, second, pattern = (columns[key] for key in ("category", "color", "second_color", "pattern"))
    material = columns["material"] if columns["material"] in _SEEN else ""
    if pattern == "plain":
        return _pick(rng, name(columns), _join("a", color, material, noun), f"{_join('a', material, noun)} in {color}")
    return _pick(
        rng,
        name(columns),
        _join("a", color, pattern, noun),
        f"{_join('a', color, noun)} with {second} {_NOUNS[pattern]}",
        f"{_join('', color, noun)} with {_NOUNS[pattern]} in {second}",
        _join("a", f"{color} and {second}", pattern, noun),
        f"{_join('a', pattern, noun)}, {color} and {second}",
    )


def description(columns: dict[str, Any], rng: np.random.Generator) -> str:
    """Two or three sentences with all attributes, in varying order."""
    noun, color, second, pattern = (columns[key] for key in ("category", "color", "second_color", "pattern"))
    shape = columns["shape"] or ""
    material = columns["material"] if columns["material"] in _SEEN | _SAID else ""
    made = _MADE.get(material, material) if rng.random() < 0.5 else ""
    adjective = "" if made or material not in _SEEN else material
    look = _join("a", shape, color, adjective, noun)
    more: list[str] = []
    if pattern != "plain":
        way = int(rng.integers(3))
        if way == 0:
            look += f" with {second} {_NOUNS[pattern]}"
        elif way == 1:
            look = _join("a", shape, f"{color} and {second}", pattern, adjective, noun)
        else:
            more.append(_pick(rng, f"It is {pattern} in {second}.", f"It is covered in {second} {_NOUNS[pattern]}."))
    start = _pick(rng, "This is {}.", "This is {}.", "The object is {}.", "{}.").format(look)
    if made:
        more.append(f"It is made of {made}.")
    parts = list(columns["features"])
    if columns["trim"]:
        named = columns["trim"].split()[-1]
        parts = [part for part in parts if part.split()[-1] != named]
        parts.insert(0, _colored(columns["trim"], second))
    if parts:
        rng.shuffle(parts)
        more.append(f"It {_pick(rng, 'has', 'has', 'comes with')} {_list(parts)}.")
    rng.shuffle(more)
    return " ".join([start[0].upper() + start[1:], *more])


def tags(columns: dict[str, Any], rng: np.random.Generator) -> str:
    """Category, colours, pattern, material, shape and features, separated by commas."""
    material = columns["material"] if columns["material"] in _SEEN else ""
    pattern = columns["pattern"] if columns["pattern"] != "plain" else ""
    rest = [word for word in (pattern, material, columns["shape"]) if word]
    features = [feature.removeprefix("an ").removeprefix("a ") for feature in columns["features"]]
    rng.shuffle(features)
    first = [columns[key] for key in ("category", "color", "second_color") if columns[key]]
    return ", ".join([*first, *rest, *features])


def mention(columns: dict[str, Any], rng: np.random.Generator) -> str:
    """A label: the category, sometimes with the pattern."""
    kind = _join("a", columns["category"])
    pattern = columns["pattern"]
    if pattern != "plain" and rng.random() < 0.2:
        return _join("a", pattern, columns["category"])
    return _pick(rng, columns["category"], kind, f"a photo of {kind}", f"a 3D model of {kind}", f"this is {kind}")


def _pick(rng: np.random.Generator, *ways: str) -> str:
    return ways[int(rng.integers(len(ways)))]


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

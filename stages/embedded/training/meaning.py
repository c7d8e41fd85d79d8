"""Compare what texts say of objects: two ways to say the same thing count as the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from stages.corpus.categories import CATEGORIES
from stages.corpus.colors import COLORS
from stages.corpus.paint import PATTERNS

_WORD = re.compile(r"[a-z0-9]+(?:-[a-z]+)*")
_SILENT = frozenset("a an and comes covered has in is it its made model object of photo the this with 3d".split())
_SAME = {"stripes": "striped", "checks": "checked", "dots": "dotted", "zigzags": "zigzag", "grid": "gridded"}
_SAME |= {"wood": "wooden", "lines": "gridded", "grey": "gray"}
_CATEGORIES = re.compile(r"\b(" + "|".join(sorted((c.name for c in CATEGORIES), key=len, reverse=True)) + r")\b")


def category_in(text: str) -> str | None:
    """Return the first category that is named: others come after "with" or "has"."""
    found = _CATEGORIES.search(text.lower())
    return found[0] if found else None


def color_in(text: str) -> str | None:
    """Return the first colour that is named, which is the main one."""
    return next((word for word in _words(text) if word in COLORS), None)


def pattern_in(text: str) -> str:
    return next((word for word in _words(text) if word in PATTERNS), "plain")


def facts(text: str) -> frozenset[str]:
    """Return the facts of a text, one word each. If it names a colour and no pattern, the object is plain."""
    words, main = set(_words(text)), color_in(text)
    if main is None:
        return frozenset(words)
    more = {f"mainly {main}"} | ({"plain"} if words.isdisjoint(PATTERNS) else set())
    others = {word for word in words if word != main}
    return frozenset(others | more)


def truth(columns: dict[str, Any]) -> frozenset[str]:
    """Return all the facts of an object."""
    known = (columns["category"], columns["second_color"], columns["material"], columns["shape"], columns["trim"])
    words = [word for text in (*known, *columns["features"]) for word in _words(text or "")]
    return frozenset([*words, f"mainly {columns['color']}", columns["color"], columns["pattern"]])


def agreement(texts: Iterable[frozenset[str]], objects: Iterable[frozenset[str]]) -> np.ndarray:
    """[objects, texts] bool: all that the text says is true of the object."""
    texts, objects = list(texts), list(objects)
    columns_of = {word: number for number, word in enumerate(sorted(set().union(*texts)))}
    claimed = np.zeros((len(texts), len(columns_of)), np.float32)
    true = np.zeros((len(objects), len(columns_of)), np.float32)
    for rows, table in ((texts, claimed), (objects, true)):
        for row, words in enumerate(rows):
            table[row, [columns_of[word] for word in words if word in columns_of]] = 1
    return true @ claimed.T == claimed.sum(1)


def _words(text: str) -> list[str]:
    return [_SAME.get(word, word) for word in _WORD.findall(text.lower()) if word not in _SILENT]

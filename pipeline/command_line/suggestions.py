"""Suggest what a word that is not known may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word as ` (did you mean WORD?)`, or nothing where none is near."""
    return "".join(f" (did you mean {near}?)" for near in get_close_matches(word, list(known), 1))

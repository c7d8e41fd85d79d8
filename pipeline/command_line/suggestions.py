"""Suggest what a word that is not known may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word as ` (did you mean WORD?)`, or nothing where none is near.

    A word whose part after the last dot is the given one comes first: `fit.steps` for `steps`.
    """
    words = list(known)
    ends = [each for each in words if "." in each and each.rpartition(".")[2] == word.lstrip("-")]
    return "".join(f" (did you mean {near}?)" for near in (ends or get_close_matches(word, words, 1))[:1])

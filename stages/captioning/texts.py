"""Give the captions of all engines the same form and clean characters."""

from __future__ import annotations

import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"  # format characters that several scripts need for their spelling


def caption(text: str, kind: str, model: str | None = None, score: float | None = None) -> dict[str, Any]:
    """One entry of `captions`. kind: metadata, name, short, detailed or tags; score: agreement with the views."""
    return {"text": text, "kind": kind, "model": model, "score": score}


def clean(text: str, max_characters: int) -> str:
    """One line in NFC without control characters, cut between words if it is too long."""
    kept = "".join(_printable(character) for character in unicodedata.normalize("NFC", text))
    line = " ".join(kept.split())
    if len(line) <= max_characters:
        return line
    cut = line[: max_characters + 1]
    return cut.rsplit(" ", 1)[0] if " " in cut else cut[:max_characters]


def _printable(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return " " if character.isspace() else ""
    if category == "Cs" or (category == "Cf" and character not in _JOINERS):
        return ""  # lone surrogates cannot be encoded as UTF-8; format characters can reverse the text
    return character

"""Captions of a source list: one text, a list of texts, or a list of {text, kind}.

In the column `caption` of a row one text stands as it is, and several, or one with a kind, as a JSON list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NotRequired, TypedDict

NAMES = ("caption", "captions", "text", "texts", "description", "descriptions")  # columns that are read, in this order
EXPECTED = "expected a text, a list of texts, or a list of {text, kind}"
MOST = 1_000  # captions of a row
_KIND = re.compile(r"\w{1,40}", re.ASCII)


class OwnCaption(TypedDict):
    """A caption that a source list gives."""

    text: str
    kind: NotRequired[str]


def joined(values: Iterable[Any]) -> str:
    """The column `caption` of these values of a row; ValueError names the shape of one that is no caption."""
    captions = [caption for value in values for caption in _captions(value)]
    if len(captions) > MOST:
        raise ValueError(f"{len(captions):,} captions, expected at most {MOST:,}")
    if len(captions) == 1 and "kind" not in captions[0] and captions_in(captions[0]["text"]) == captions:
        return captions[0]["text"]
    return json.dumps(captions, ensure_ascii=False) if captions else ""


def captions_in(column: str | None) -> list[OwnCaption]:
    """The captions of a row, from its column `caption`."""
    if not column:
        return []
    listed = _json(column)
    if not isinstance(listed, list):
        return [{"text": column}]
    try:
        return _captions(listed)
    except ValueError:
        return [{"text": column}]


def _captions(value: Any) -> list[OwnCaption]:
    """The captions that a value holds; a text that is a JSON list or object is read as that."""
    if isinstance(value, str):
        value = value if (found := _json(value)) is None else found
    if isinstance(value, str):
        return [{"text": value}] if value.strip() else []
    if isinstance(value, list):
        return [caption for item in value for caption in _one(item)]
    return _one(value)


def _one(item: Any) -> list[OwnCaption]:
    if item is None:
        return []
    if isinstance(item, str):
        return [{"text": item}] if item.strip() else []
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise ValueError(f"{_shown(item)} is not a caption")
    kind = item.get("kind")
    if kind is None:
        return [{"text": item["text"]}]
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ValueError(f"{_shown(kind)} is not a kind of caption, which has up to 40 letters, digits and underscores")
    return [{"text": item["text"], "kind": kind}] if item["text"].strip() else []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _json(text: str) -> Any:
    """The list or object that a text is; None for any other text, such as `[sic] an anvil`."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list | dict) else None

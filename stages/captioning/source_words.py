"""Captions from words that are there already: the source list's, else those in the names of file and folder."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stages.captioning.texts import caption, clean
from stages.contract.stage import Context, Done, Row, StageError, Work, each

if TYPE_CHECKING:
    from stages.caption import Caption

# Words that name a file's role or its place, never the object.
_GENERIC = frozenset(
    """
    archive asset assets binary collada converted copy data dataset default dev download downloads draco drive embedded
    export exported file files final fixed geometry glb gltf home input low main mesh meshes mnt mobile model models
    normalized obj object objects off original out output part ply poly public quantized raw root sample samples scene
    scenes shape shapes shared simplified source src stl temp test texture textured textures tmp train transformed
    untitled user users usr val validation var version work
    """.split()
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SERIAL = re.compile(r"(?=.*\d)[0-9a-f-]{8,}", re.IGNORECASE)  # a hash or UUID
_FOLDERS = 2  # how far above the file a name is looked for


def open_engine(stage: Caption, context: Context) -> Work:
    """The words are in the row; nothing is loaded."""
    return each(lambda row: Done(columns={"captions": captions_of(row, stage.max_characters)}))


def captions_of(row: Row, max_characters: int) -> list[dict[str, Any]]:
    """The row's captions, best first."""

    def cleaned(values: Iterable[str]) -> list[str]:
        return _distinct(clean(value, max_characters) for value in values)

    written = cleaned(_texts(row.get("caption")))
    tags = cleaned(_spaced(tag) for tag in _split_tags(row.get("tags")))
    names = cleaned(_readable(name) for name in _texts(row.get("name")))
    categories = cleaned(_spaced(category) for category in _texts(row.get("category")))
    composed = cleaned([", ".join(_unsaid([*names, *categories, *tags]))])
    if written or composed:
        captions = [caption(text, "metadata") for text in written or composed]
    else:
        named = cleaned([words_in(row.get("uri") or "")])
        if not named:
            lacking = "no caption, name, tags or category, and no words in the names of file and folders"
            raise StageError("no_words", f"{row.get('uri')}: {lacking}")
        captions = [caption(named[0], "name")]
    if tags:
        captions.append(caption(clean(", ".join(tags), max_characters), "tags"))
    return captions


def place(uri: str) -> str:
    """The part of a URI that a name is looked for in: the file and the folders right above it."""
    path = unquote(urlsplit(uri).path) if "://" in uri else uri
    return "/".join(part for part in path.split("/")[-1 - _FOLDERS :] if part)


def words_in(uri: str) -> str:
    """The words in a file's name, or in the nearest folder's that has any: `Office_Chair-02.glb` is office chair."""
    parts = place(uri).split("/")
    stem = parts[-1].rpartition(".")[0] or parts[-1]
    for name in reversed([*parts[:-1], stem]):
        words = list(_words(name))
        if any(word not in _GENERIC for word in words):
            return " ".join(words)
    return ""


def _words(name: str) -> Iterator[str]:
    for piece in re.split(r"[\s_.+,()\[\]{}]+", name):
        if _SERIAL.fullmatch(piece):
            continue
        # Accents and vowel signs are marks, which regular expressions count as breaks between words.
        signs = unicodedata.normalize("NFC", piece)
        letters = "".join(sign if unicodedata.category(sign)[0] in "LM" else " " for sign in signs)
        for run in letters.split():
            # Not glTF and its like, which only look like camel case.
            words = [run] if run.lower() in _GENERIC else _CAMEL.sub(" ", run).split()
            # A lone Latin letter says nothing, a lone ideograph does.
            yield from (word.lower() for word in words if len(word) > 1 or not word.isascii())


def _texts(value: Any) -> list[str]:
    """A field of the source list as texts: absent, one, or several."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return [str(value)]


def _split_tags(value: Any) -> list[str]:
    """Tags come as a list, as JSON, or as text with separators."""
    tags = []
    for text in _texts(value):
        if text.lstrip().startswith("["):
            try:
                tags += _texts(json.loads(text))
                continue
            except ValueError:
                text = text.strip("[] ")
        tags += re.split(r"[,;|\n]", text)
    return tags


def _spaced(text: str) -> str:
    """`coffee_mug` as people write it; text that has spaces keeps its underscores."""
    return text if re.search(r"\s", text.strip()) else text.replace("_", " ")


def _readable(name: str) -> str:
    """Lists often repeat file names as names: `CommonTree_3` is common tree. What people wrote stays as it is."""
    single = not re.search(r"\s", name.strip())
    if single and (re.search(r"[_\d]|-.*-", name) or _CAMEL.search(name)):
        return " ".join(_words(name)) or _spaced(name)
    return name


def _unsaid(parts: Iterable[str]) -> list[str]:
    """Without parts whose words an earlier part has said: the category of `red chair` need not follow as `chair`."""
    kept: list[str] = []
    for part in parts:
        if not any(f" {part.casefold()} " in f" {said.casefold()} " for said in kept):
            kept.append(part)
    return kept


def _distinct(texts: Iterable[str]) -> list[str]:
    """Non-empty texts in their order, each once, whatever their case."""
    kept: dict[str, str] = {}
    for text in texts:
        if text:
            kept.setdefault(text.casefold(), text)
    return list(kept.values())

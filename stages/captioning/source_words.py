"""Make captions of the words in the source list, or else in the names of the file and its folder."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from manifests.archives.address import member_of
from manifests.captions import captions_in
from stages.captioning.texts import caption, clean
from stages.contract.stage import Row, StageError

COLUMNS = ("caption", "name", "tags", "category")  # of the source list, in the order in which keys have them

# Words that say what a file is for or where it is, not what the object is.
_GENERIC = frozenset(
    """
    archive asset assets binary collada converted copy data dataset default dev download downloads draco drive embedded
    export exported file files final fixed geometry glb gltf home input low main mesh meshes mnt mobile model models
    normalized obj object objects off original out output part ply poly public quantized raw root sample samples scene
    scenes shape shapes shared simplified source src stl temp test texture textured textures tmp train transformed
    untitled user users usr val validation var version work
    """.split()
)
# Formats, versions and steps of preparation, which file names end with; also sizes, which no view shows.
_LAST = frozenset(
    """
    ascii asset backup baked big binary blend clean cleaned compressed converted copy dae decimated draco embedded
    export exported fbx final fixed geometry glb gltf hd hi high highpoly huge in large lod low lowpoly medium merged
    mesh meshopt mini model new normalised normalized obj old optimised optimized original out output pbr ply poly
    quantised quantized raw remeshed res resolution rigged scan scanned simplified small stl temp test texture textured
    textures tiny tmp transformed triangulated unwrapped usd usda usdc usdz uv ver version
    """.split()
)
_SIZES = frozenset(("big", "huge", "large", "medium", "mini", "small", "tiny"))
# Words that file names begin with; SM and SK are static and skeletal meshes.
_FIRST = frozenset(
    "asset geo geometry highpoly lowpoly mesh model models obj prop props sk sketchfab sm untitled".split()
)
_ALONE = _GENERIC | _LAST | _FIRST | {"left", "none", "right"}  # that say nothing without another word
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SERIAL = re.compile(r"(?=.*\d)[0-9a-f-]{8,}", re.IGNORECASE)  # a hash or UUID
_CODE = re.compile(r"(?=.{8})(?!.*[a-z]{4})[A-Za-z]*(\d+[A-Za-z]+){2,}\d*")  # such as B01N2PLWIL
_NO_WORD = re.compile(r"[b-df-hj-np-tv-xz]{5,}")  # without a vowel
_OF_USER = re.compile(r"^/(home|Users)/[^/]+")  # whose name is no word
_FOLDERS = 2  # folders above the file whose names are used


def captions_of(row: Row, max_characters: int) -> list[dict[str, Any]]:
    """The captions of a row, or else of its file's name, best first; StageError if there are no words."""
    if captions := captions_of_row(row, max_characters):
        return captions
    named = clean(name_in(row.get("uri") or ""), max_characters)
    if not named:
        missing = "no caption, name, tags or category, and no words in the names of file and folders"
        raise StageError("no_words", f"{row.get('uri')}: {missing}")
    return [caption(named, "name")]


def captions_of_row(row: Row, max_characters: int) -> list[dict[str, Any]]:
    """The captions that the source list gives a row, best first: its own, else its name, category and tags."""

    def cleaned(values: Iterable[str]) -> list[str]:
        return _distinct(clean(value, max_characters) for value in values)

    written = _written(row, max_characters)
    tags = cleaned(_spaced(tag) for tag in _split_tags(row.get("tags")))
    names = cleaned(_readable(name) for name in _texts(row.get("name")))
    categories = cleaned(_spaced(category) for category in _texts(row.get("category")))
    composed = cleaned([", ".join(_without_repeated([*names, *categories, *tags]))])
    captions = written or [caption(text, "metadata") for text in composed]
    if tags:
        captions.append(caption(clean(", ".join(tags), max_characters), "tags"))
    return captions


def _written(row: Row, max_characters: int) -> list[dict[str, Any]]:
    """The captions that the source list gives, each text once."""
    found: dict[str, dict[str, Any]] = {}
    for own in captions_in(row.get("caption")):
        if text := clean(own["text"], max_characters):
            found.setdefault(text.casefold(), caption(text, own.get("kind", "metadata")))
    return list(found.values())


def name_in(uri: str) -> str:
    """The name of an object from that of its file or of the nearest folder that says anything.

    `Office_Chair-02.glb` is office chair, `barrel_large.gltf.glb` is barrel.
    """
    for name in _names(_OF_USER.sub("", uri)):
        spoken = " ".join(piece for piece in _pieces(name) if not _CODE.fullmatch(piece))
        words = _without_technical_words(list(_words(spoken)))
        if not _ALONE.issuperset(words):
            return " ".join(words)
    return ""


def words_in_key(row: Row, max_characters: int) -> str:
    """What a row's key has of its address: words, so that a collection that moves keeps its captions."""
    uri = row.get("uri") or ""
    return words_in(uri) if captions_of_row(row, max_characters) else name_in(uri)


def words_in(uri: str) -> str:
    """All words in the name of a file or of the nearest folder that has any."""
    for name in _names(uri):
        words = list(_words(name))
        if any(word not in _GENERIC for word in words):
            return " ".join(words)
    return ""


def _names(uri: str) -> list[str]:
    """The names of the file, without its ending, and of the folders above it."""
    if member := member_of(uri):
        path = f"{member.archive.rpartition('/')[2].partition('.')[0]}/{member.name}".replace("/./", "/")
    else:
        path = unquote(urlsplit(uri).path) if "://" in uri else uri.replace("/./", "/")
    *folders, file = [part for part in path.split("/")[-1 - _FOLDERS :] if part] or [""]
    return [file.rpartition(".")[0] or file, *reversed(folders)]


def _without_technical_words(words: list[str]) -> list[str]:
    """The words that say what the object is: `copy of lowpoly table large lod` is table."""
    words = [word for word in words if not _NO_WORD.fullmatch(word)]
    if words[:2] == ["copy", "of"] and len(words) > 2:
        words = words[2:]
    if words[:1] in (["low"], ["high"]) and words[1:2] == ["poly"]:
        words = words[2:]
    while len(words) > 1 and words[-1] in _LAST:
        words = words[:-1]
    while len(words) > 1 and words[0] in _FIRST:
        words = words[1:]
    return words[:1] + [word for word in words[1:] if word not in _SIZES]


def _words(name: str) -> Iterator[str]:
    for piece in _pieces(name):
        if _SERIAL.fullmatch(piece):
            continue
        # Accents and vowel signs are marks (category M), at which \w would break words.
        characters = unicodedata.normalize("NFC", piece)
        letters = "".join(each if unicodedata.category(each)[0] in "LM" else " " for each in characters)
        for run in letters.split():
            # glTF and other generic words are not camel case.
            words = [run] if run.lower() in _GENERIC else _CAMEL.sub(" ", run).split()
            # A single ideograph is a word, a single Latin letter is not.
            yield from (word.lower() for word in words if len(word) > 1 or not word.isascii())


def _pieces(name: str) -> list[str]:
    return re.split(r"[\s_.+,()\[\]{}]+", name)


def _texts(value: Any) -> list[str]:
    """The values of a field of the source list, which can be missing, a single value or a list."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return [str(value)]


def _split_tags(value: Any) -> list[str]:
    """Tags from a list, from JSON, or from text with separators."""
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
    """`coffee_mug` becomes `coffee mug`; text with spaces keeps its underscores."""
    return text if re.search(r"\s", text.strip()) else text.replace("_", " ")


def _readable(name: str) -> str:
    """`CommonTree_3`, a file name used as a name, becomes `common tree`; other names stay as they are."""
    single = not re.search(r"\s", name.strip())
    if single and (re.search(r"[_\d]|-.*-", name) or _CAMEL.search(name)):
        return " ".join(_words(name)) or _spaced(name)
    return name


def _without_repeated(parts: Iterable[str]) -> list[str]:
    """Leave out parts that an earlier part contains: after the name `red chair`, the category `chair` is not needed."""
    kept: list[str] = []
    for part in parts:
        if not any(f" {part.casefold()} " in f" {earlier.casefold()} " for earlier in kept):
            kept.append(part)
    return kept


def _distinct(texts: Iterable[str]) -> list[str]:
    """The texts that are not empty, without repetitions, ignoring case."""
    kept: dict[str, str] = {}
    for text in texts:
        if text:
            kept.setdefault(text.casefold(), text)
    return list(kept.values())

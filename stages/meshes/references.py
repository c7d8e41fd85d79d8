"""References from a mesh file to other files: data URIs, and names inside the mesh's own folder."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Container
from urllib.parse import unquote, unquote_to_bytes

from stages.contract.stage import StageError

_LONGEST = 1 << 16  # characters of a reference
_MOST_ESCAPES = 4_000_000  # of a data URI; Python makes an object of each
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:")


def is_embedded(uri: str) -> bool:
    return uri[:5].lower() == "data:"


def embedded(uri: str, owner: str) -> bytes:
    """The bytes of a data URI."""
    head, _, body = uri.partition(",")
    if body.count("%") > _MOST_ESCAPES:
        raise StageError("too_large", f"{owner}: a data URI has more than {_MOST_ESCAPES:,} percent signs")
    try:
        return base64.b64decode(unquote_to_bytes(body)) if head.endswith(";base64") else unquote_to_bytes(body)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise StageError("corrupt_file", f"{owner}: a data URI is not valid base64 ({error})") from None


def names_of(uri: str, owner: str) -> list[str]:
    """The names, relative to the mesh's folder, under which a file that `owner` refers to is looked for.

    First in the owner's folder, then in the mesh's own; in each, percent-decoded first, then as it is written. A
    reference that leads out of the mesh's folder is refused here, before any file is opened. One that is longer than
    any path has no names.
    """
    if len(uri) > _LONGEST:
        return []
    folder = posixpath.dirname(owner)
    beside: list[str] = []
    if folder and not _is_absolute(uri) and not _leads_out(f"{folder}/{uri}"):
        beside = _inside(f"{folder}/{uri}", owner)
        if _leads_out(uri):  # to a folder that is the mesh's own too
            return beside
    return beside + [name for name in _inside(uri, owner) if name not in beside]


def find(uri: str, owner: str, members: Container[str]) -> str | None:
    """The name of the member that a reference means; None if it is missing."""
    return next((name for name in names_of(uri, owner) if name in members), None)


def _inside(uri: str, owner: str) -> list[str]:
    names: list[str] = []
    for text in dict.fromkeys([unquote(uri), uri]):
        if not text.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in text):
            raise StageError("corrupt_file", f"{owner} refers to {ascii(uri[:200])}, which is not text")
        if _leads_out(text):
            raise StageError(
                "external_reference", f"{owner} refers to {uri[:200]!r}; only files in its own folder are read"
            )
        name = posixpath.normpath(text.replace("\\", "/"))
        if name not in (".", *names):
            names.append(name)
    return names


def _leads_out(text: str) -> bool:
    path = text.replace("\\", "/")
    return posixpath.normpath(path).split("/")[0] == ".." or "\0" in path or _is_absolute(path)


def _is_absolute(text: str) -> bool:
    return text.startswith(("/", "\\")) or _SCHEME.match(text) is not None


def decoded(text: bytes) -> str:
    """The text as UTF-8, or else as Latin-1, which accepts any byte: names that differ stay different."""
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")

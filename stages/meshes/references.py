"""References from a mesh file to other files: data URIs, and names inside the mesh's own folder."""

from __future__ import annotations

import base64
import binascii
import codecs
import posixpath
import re
from collections.abc import Container
from urllib.parse import unquote, unquote_to_bytes

from stages.contract.stage import StageError

_LONGEST = 1 << 16  # characters of a reference
_LONGEST_PREFIX = 32  # characters by which an absolute path is known, where each is percent-encoded
_MOST_ESCAPES = 4_000_000  # of a data URI; Python makes an object of each
_ABSOLUTE = re.compile(r"^(?:[a-zA-Z]:|[\\/]|file:)", re.IGNORECASE)
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
    reference that leads out of the mesh's folder is refused here, before any file is opened; of an absolute path, which
    is one of another machine, the file name alone counts. A reference that is longer than any path has no names.
    """
    if len(uri) > _LONGEST:
        return []
    folder = posixpath.dirname(owner)
    if is_absolute(uri):
        names = _inside(uri, owner)
        return [f"{folder}/{name}" for name in names if folder] + names
    beside: list[str] = []
    if folder and _SCHEME.match(uri) is None and not _leads_out(f"{folder}/{uri}"):
        beside = _inside(f"{folder}/{uri}", owner)
        if _leads_out(uri):  # to a folder that is the mesh's own too
            return beside
    return beside + [name for name in _inside(uri, owner) if name not in beside]


def is_absolute(uri: str) -> bool:
    """Whether it is an absolute path, also one of Windows, or a file:// address."""
    return any(_ABSOLUTE.match(text) for text in (uri, unquote(uri[:_LONGEST_PREFIX])))


def shown(uri: str) -> str:
    """A reference for messages: of an absolute path, which may name a user, the file name alone."""
    return (_file_name(unquote(uri[-_LONGEST:])) if is_absolute(uri) else uri)[:200]


def missing(uri: str) -> str:
    """The warning of a file that a mesh is drawn without."""
    return f"missing file: {shown(uri)}{', named by an absolute path' if is_absolute(uri) else ''}"


def _file_name(path: str) -> str:
    return re.split(r"[\\/]|^[a-zA-Z]:|^file:", path, flags=re.IGNORECASE)[-1]


def find(uri: str, owner: str, members: Container[str]) -> str | None:
    """The name of the member that a reference means; None if it is missing."""
    return next((name for name in names_of(uri, owner) if name in members), None)


def _inside(uri: str, owner: str) -> list[str]:
    names: list[str] = []
    for text in dict.fromkeys([unquote(uri), uri]):
        if not text.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in text):
            raise StageError("corrupt_file", f"{owner} refers to {ascii(uri[:200])}, which is not text")
        if is_absolute(uri):
            text = _file_name(text)
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
    outside = posixpath.normpath(path).split("/")[0] == ".."
    return outside or path.startswith("/") or "\0" in path or _SCHEME.match(path) is not None


def comments(data: bytes) -> str:
    """The comments of a text file that begin with #, in its first 4 KiB."""
    return decoded(b"\n".join(re.findall(rb"^[ \t]*#([^\r\n]*)", data[:4096], re.MULTILINE)))


def decoded(text: bytes) -> str:
    """The text as UTF-8, or as UTF-16 where a byte order mark says so, or else as Latin-1.

    Latin-1 accepts any byte, so names that differ stay different.
    """
    try:
        if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return text.decode("utf-16")
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("latin-1")

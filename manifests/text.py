"""Make text that others wrote safe to store, to print and to publish.

Names in meshes, answers of servers and addresses in lists are written by strangers. They may hold what UTF-8 cannot
encode, what a terminal obeys, megabytes, or a password.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

LONGEST = 1_000  # characters of a message: of an error, of a warning
MOST = 20 * LONGEST  # characters of all warnings of an object together
_READ = 8 * LONGEST  # only so much of a longer text is looked at

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])?")
# other controls, halves of surrogate pairs, and marks that change the direction of the text around them
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_USER = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@'\"]*@")
_QUERY = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*://[^\s?#'\"<>]*\?)[^\s#'\"<>]+")
_TOKEN = re.compile(
    r"(?i)\b((?:[\w-]*(?:token|secret|password|signature|api[_-]?key|access[_-]?key[\w-]*))=|authorization: *)"
    r"(?:(?:bearer|basic) +)?[^\s&,;'\"]+|\b(bearer +)[\w.~+/=-]{8,}|\b(hf_)[A-Za-z0-9]{16,}"
)


def encodable(value: Any) -> Any:
    """A text without halves of surrogate pairs, which UTF-8 cannot encode; also within lists and dictionaries."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="ignore").decode()
    if isinstance(value, dict):
        return {encodable(name): encodable(inner) for name, inner in value.items()}
    return [encodable(inner) for inner in value] if isinstance(value, list | tuple) else value


def message(text: object, longest: int = LONGEST) -> str:
    """One line for a person: without control characters and credentials, of bounded length."""
    line = str(text)
    cut = len(line) > _READ
    line = masked(_NOT_SHOWN.sub(" ", _ESCAPE_SEQUENCE.sub("", line[:_READ])))
    line = " ".join(line.split())
    return f"{line[: longest - 1]}…" if cut or len(line) > longest else line


def messages(texts: object) -> list[str]:
    """Each different text once, as a message. Beyond MOST characters, the last one says how many more."""
    listed = texts if isinstance(texts, list | tuple) else [texts] if texts else []
    shown = list(dict.fromkeys(map(message, listed)))
    lengths = list(accumulate(map(len, shown)))
    if not shown or lengths[-1] <= MOST:
        return shown
    kept = sum(length <= MOST - LONGEST for length in lengths)
    return [*shown[:kept], f"{len(shown) - kept} more warnings"]


def masked(text: str) -> str:
    """The text with *** for user names, passwords, tokens and the queries of addresses, which may be signatures."""
    text = _QUERY.sub(r"\1***", _USER.sub(r"\1***@", text))
    return _TOKEN.sub(lambda found: f"{found[1] or found[2] or found[3]}***", text)


def public_address(uri: str) -> str:
    """An address without its user, password, query and fragment; a path stays as it is."""
    if "://" not in uri:
        return uri
    return _USER.sub(r"\1", re.split(r"[?#]", uri, maxsplit=1)[0])

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
_READ = 4 * LONGEST  # only so much of a longer text is looked at

# Every expression here takes time in proportion to the text, whatever the text is.
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])?")
# other controls, halves of surrogate pairs, and marks that change the direction of the text around them
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_WORD = re.compile(r"[^\s'\"<>]+")
_USER = re.compile(r"://[^/@?#]*@")
_ASSIGNED = re.compile(r"(?<![\w-])([\w-]+)(=|[\"'] ?: ?[\"'])([^\s&,;'\"]+)")
_SECRET_NAME = re.compile(r"token|secret|passw|signature|credential|api[_-]?key|access[_-]?key|^sig$", re.IGNORECASE)
_SENT = re.compile(r"\b(authorization: ?(?:\w+ )?)[^\s'\"]+|\b(bearer )[\w.~+/=-]{8,}|\b(hf_)\w{16,}", re.IGNORECASE)


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
    """The text with *** for users, passwords and queries of addresses, and for the values of names such as `token`."""
    text = _SENT.sub(lambda found: f"{found[1] or found[2] or found[3]}***", text)
    return _ASSIGNED.sub(_masked_value, _WORD.sub(_masked_address, text))


def _masked_address(word: re.Match[str]) -> str:
    before, scheme, rest = word[0].partition("://")
    if not scheme:
        return word[0]
    address, mark, _ = _USER.sub("://***@", scheme + rest).partition("?")
    return f"{before}{address}{mark}{'***' if mark else ''}"


def _masked_value(found: re.Match[str]) -> str:
    name, sign, value = found.groups()
    return f"{name}{sign}***" if _SECRET_NAME.search(name) and not value.isdigit() else found[0]


def public_address(uri: str) -> str:
    """An address without its user, password, query and fragment; a path stays as it is."""
    if "://" not in uri:
        return uri
    return _USER.sub("://", re.split(r"[?#]", uri, maxsplit=1)[0])

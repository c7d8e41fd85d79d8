"""Make text that others wrote safe to store, to print and to publish.

Names in meshes, answers of servers and addresses in lists are written by strangers. They may hold what UTF-8 cannot
encode, what a terminal obeys, megabytes, or a password.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any
from urllib.parse import unquote

LONGEST = 1_000  # characters of a message: of an error, of a warning
MOST = 20 * LONGEST  # characters of all warnings of an object together
_READ = 4 * LONGEST  # only so much of a longer text is looked at

# Every expression here takes time in proportion to the text, whatever the text is.
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|[ -/]*[0-~])?")
# other controls, halves of surrogate pairs, marks that change the direction of the text around them, and what has no
# width, but what joins letters
_NOT_SHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]+"
)
_WORD = re.compile(r"[^\s'\"<>]+")
# a user and password: up to the last @ of the host, or past a slash where no port stands after the colon
_USER = re.compile(r"://(?:[^/?#]*@|[^/:@\[]{0,300}:(?!\d+[/?#])[^@]{0,300}@)")
_CONTAINER = re.compile(r"\b(?:az|abfss?)://[^:@/]+@")  # not a user: abfs://CONTAINER@ACCOUNT
_ASSIGNED = re.compile(r"(?<![\w-])([\w-]+)(=|[\"'] ?: ?[\"'])([^\s&,;'\"]+)")
_SECRET_NAME = re.compile(r"token|secret|passw|signature|credential|api[_-]?key|access[_-]?key|^sig$", re.IGNORECASE)
_SENT = re.compile(r"\b(authorization: ?(?:\w+ )?)[^\s'\"]+|\b(bearer )[\w.~+/=-]{8,}|\b(hf_)\w{16,}", re.IGNORECASE)

# names of the parameters of a query that sign an address
SIGNATURE = re.compile(
    r"(?i)x-(amz|goog|oss|cos|bce|tos|obs|ms)-.*|q-(sign-.*|ak|key-time|.*-list)|sig|googleaccessid|.*accesskey-?id|"
    r".*(signature|token|secret|passw(or)?d|credential|jwt|hmac|(api|access)[-_]?key).*|hdne[at]s?"
)
# and of others that may be a secret, but are also used for what is none
_MAYBE_SECRET = re.compile(r"(?i).*auth.*|code|hm|.*key|md5|oh|pass|pwd|.*session.*|sign|user(name)?")


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
    """An address without its user and password, and without a query that may be a signature; a path stays as it is.

    One of the web has no query and no fragment at all. In object stores both are usual characters of names.
    """
    scheme, _, rest = uri.partition("://")
    if not rest:
        return uri
    uri = _without_user(uri)
    head, *tail = re.split(r"[?#]", uri, maxsplit=1)
    return head if scheme.lower().endswith(("http", "https")) or tail and _has_secret(tail[0]) else uri


def published(value: Any) -> Any:
    """A value of the source list as it may be published: encodable, and addresses in it without credentials."""
    if isinstance(value, dict):
        return {published(name): published(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [published(inner) for inner in value]
    text = encodable(value)
    return _WORD.sub(_without_secret, text) if isinstance(text, str) and "://" in text else text


def without_queries(text: str) -> str:
    """A text that names sources, with every address in it as `public_address` gives it."""
    return _WORD.sub(lambda word: public_address(word[0]), text)


def _without_secret(word: re.Match[str]) -> str:
    if "://" not in word[0]:
        return word[0]
    address = _without_user(word[0])
    head, *tail = re.split(r"[?#]", address, maxsplit=1)
    return head if tail and _has_secret(tail[0]) else address


def _without_user(address: str) -> str:
    return address if _CONTAINER.search(address) else _USER.sub("://", address)


def _has_secret(query: str) -> bool:
    names = (part.partition("=")[0] for part in re.split("[&;?#]", f"{query}&{unquote(query)}"))
    return any(SIGNATURE.fullmatch(name) or _MAYBE_SECRET.fullmatch(name) for name in names)

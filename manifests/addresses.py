"""Addresses of files: which ones are accepted, how they are opened, and what is left of them without credentials."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import unquote

from manifests.text import SIGNATURE, message, public_address

_AZURE = ("az", "abfs", "abfss")
OBJECT_STORES = ("s3", "gs", "gcs", *_AZURE, "hf")
WEB = ("http", "https")
ACCEPTED = (
    "a path, zip://MEMBER::ARCHIVE, file://, s3://, gs://, az:// (abfs://, abfss://) or hf://, or http(s):// with "
    "ingest.allow_http"
)

_NEEDS_SLASHES = re.compile(rf"(?i)({'|'.join(('data', 'file', *OBJECT_STORES, *WEB))}):(?!//)")
# parameters that belong to a signature where there is one; they are also usual words
_OF_SIGNATURE = re.compile(
    r"(?i)expires?|expiry|exp|policy|key-pair-id|hash-algorithm|"
    r"s([evripst]|pr|ip|rt|dd|koid|ktid|kt|ke|ks|kv|aoid|uoid|cid|duoid)"
)


class AddressError(ValueError):
    """The address is not one of a file that may be opened. The text names it without its credentials."""

    def __init__(self, address: str, problem: str):
        super().__init__(f"{message(address, 300)}: {problem}")


def is_uri(text: str) -> bool:
    return "://" in text


def scheme_of(address: str) -> str:
    """Return the scheme of an address, "" for a path or a file:// URI. Raise AddressError where it is not accepted.

    Every address passes here before it is opened: fsspec knows many more schemes, and some of them run or reach what
    no list of meshes should.
    """
    scheme, uri, rest = address.partition("://")
    if not uri:
        if found := _NEEDS_SLASHES.match(address):
            raise AddressError(address, f"{found[1]}: is not accepted; expected {ACCEPTED}")
        return ""
    if scheme == "file":
        if not rest.startswith("/"):
            raise AddressError(address, "a file:// address must have no host: expected file:///PATH")
        return ""
    if scheme not in (*OBJECT_STORES, *WEB):
        raise AddressError(address, f"this scheme is not accepted; expected {ACCEPTED}")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not host:
        raise AddressError(address, "a host or a bucket is missing")
    user, at, _ = host.rpartition("@")
    if at and (":" in user or scheme not in _AZURE):  # abfs://CONTAINER@ACCOUNT
        raise AddressError(address, "an address must have no user and no password; credentials are set by environment")
    port = host.rpartition("]")[2].partition(":")[2]
    if scheme in WEB and port and not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65_536):
        raise AddressError(address, "the port is not a number below 65,536")
    if scheme in OBJECT_STORES and "::" in address:
        raise AddressError(address, "chained addresses are not accepted; give the address of the file itself")
    return scheme


def local_path(address: str) -> str:
    """The path that a path or a file:// URI names."""
    return address.removeprefix("file://")


def open_files(address: str, **options: Any) -> tuple[Any, str]:
    """Return the fsspec file system of an address in an object store, and the path in it."""
    if scheme_of(address) not in OBJECT_STORES:
        raise AddressError(address, f"not an object store; expected one of {', '.join(OBJECT_STORES)}")
    import fsspec

    return fsspec.core.url_to_fs(address, **options)


def unsigned(address: str) -> str:
    """The address without its signature: the same for every signature of one file."""
    public = public_address(address)
    if public == address:
        return address
    query = address.partition("?")[2].partition("#")[0]
    names = {part: unquote(part.partition("=")[0]) for part in query.split("&") if part}
    signed = any(SIGNATURE.fullmatch(name) for name in names.values())
    kept = [
        part
        for part, name in names.items()
        if not (SIGNATURE.fullmatch(name) or signed and _OF_SIGNATURE.fullmatch(name))
    ]
    return f"{public}?{'&'.join(sorted(kept) if signed else kept)}" if kept else public


def row_id(address: str, digits: int = 8) -> str:
    """The id of a row that has none: its public address, and a hash of what distinguishes it in the query."""
    public, rest = public_address(address), unsigned(address)
    return public if rest == public else f"{public}#{_digest(rest, digits)}"


def address_seen(address: str, ok: bool) -> str:
    """How the log names the address of a row that was ingested: without its signature.

    A failure also has a hash of the whole address, since another signature may succeed.
    """
    plain = unsigned(address)
    return plain if ok or plain == address else f"{plain}#{_digest(address)}"


def _digest(text: str, digits: int = 8) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass")).hexdigest()[:digits]

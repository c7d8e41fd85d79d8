"""Pack files into a zip that depends only on their names and bytes, and hash them."""

from __future__ import annotations

import hashlib
import io
import zipfile

_TIME = (1980, 1, 1, 0, 0, 0)  # a zip holds a time for each member; a fixed one keeps equal content equal bytes


def pack(members: dict[str, bytes]) -> bytes:
    """Pack the members in the given order, uncompressed, since most meshes and images are compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def digest(members: dict[str, bytes]) -> str:
    """The sha256 of names and bytes, each preceded by its length."""
    total = hashlib.sha256()
    for name, data in members.items():
        for part in (name.encode("utf-8", "surrogatepass"), data):
            total.update(len(part).to_bytes(8, "little"))
            total.update(part)
    return total.hexdigest()

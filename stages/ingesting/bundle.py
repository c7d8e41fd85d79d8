"""A mesh and its companions in one deterministic zip, and the hash that stands for them."""

from __future__ import annotations

import hashlib
import io
import zipfile

_MOMENT = (1980, 1, 1, 0, 0, 0)  # zip members carry a time; a fixed one keeps equal content equal bytes


def pack(members: dict[str, bytes]) -> bytes:
    """The members in the order given, uncompressed: meshes and images are mostly compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def digest(members: dict[str, bytes]) -> str:
    """sha256 over names and bytes; a length before each keeps the borders between them unambiguous."""
    total = hashlib.sha256()
    for name, data in members.items():
        for part in (name.encode("utf-8", "surrogatepass"), data):
            total.update(len(part).to_bytes(8, "little"))
            total.update(part)
    return total.hexdigest()

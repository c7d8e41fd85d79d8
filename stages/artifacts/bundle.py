"""Pack files into a zip that depends only on their names and bytes, hash them, and read the zip back."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from manifests.outcomes import DamagedFile
from manifests.text import message

_TIME = (1980, 1, 1, 0, 0, 0)  # a zip holds a time for each member; a fixed one keeps equal content equal bytes


def pack(members: dict[str, bytes]) -> bytes:
    """Pack the members in the given order, uncompressed, since most meshes and images are compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Read what `pack` wrote; raise DamagedFile if it is damaged."""
    with damage_of("the zip"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = archive.infolist()
        for info in found:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise DamagedFile(f"{info.filename} is compressed, but `pack` stores members as they are")
        if len(found) != int.from_bytes(data[-12:-10], "little"):  # zipfile does not compare it
            raise DamagedFile("it has another number of members than its end says")
        if sum(info.file_size for info in found) > len(data):
            raise DamagedFile("its members declare more bytes than the zip has")
        members = {info.filename: archive.read(info) for info in found}
        if len(members) < len(found):
            raise DamagedFile("a name is there twice")
        return members


@contextmanager
def damage_of(what: str) -> Iterator[None]:
    """Raise DamagedFile for whatever goes wrong while an artifact is read.

    Libraries raise many kinds of errors for damaged files: zipfile alone BadZipFile, NotImplementedError, RuntimeError,
    EOFError, struct.error and others.
    """
    try:
        yield
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:
        raise DamagedFile(f"{what} cannot be read: {type(error).__name__}: {message(error)[:200]}") from error


def digest(members: dict[str, bytes]) -> str:
    """The sha256 of names and bytes, each preceded by its length."""
    total = hashlib.sha256()
    for name, data in members.items():
        for part in (name.encode("utf-8", "surrogatepass"), data):
            total.update(len(part).to_bytes(8, "little"))
            total.update(part)
    return total.hexdigest()

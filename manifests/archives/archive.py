"""Read members of a zip or tar archive without unpacking it. What it declares is limited before it is believed."""

from __future__ import annotations

import io
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import IO, Any, cast

from manifests.archives.gunzipped import DamagedGzip, Gunzipped, TooLongGzip

MOST_MEMBERS = 500_000
_MOST_LEVELS = 16  # of folders whose members are listed
_LONGEST_LISTED = 1_024  # characters of a name that is listed
_LARGEST_READ = 64 << 20  # bytes at once: of a zip's directory, or of a tar's header
_SLACK = 1 << 30  # bytes that a .tar.gz may have uncompressed whatever its size
_MOST_EXPANDED = 100  # times its size that it may have besides


class ArchiveError(Exception):
    """The archive as a whole cannot be read."""


class MemberError(Exception):
    """A member cannot be read; `reason` is one of ingest's."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


class _LimitedFile(io.FileIO):
    """A file that is never read to its end at once, however much an archive declares."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        if size > _LARGEST_READ:
            raise ArchiveError(f"a header or a directory of {size:,} bytes; at most {_LARGEST_READ:,} are read")
        return super().read(size) or b""


class Archive(ABC):
    """`members` has what is a regular file or a link, by clean names; `outside` the names that lead out of it."""

    def __init__(self) -> None:
        self.members: dict[str, Any] = {}
        self.outside: list[str] = []

    def _add(self, name: str, member: object) -> None:
        clean = posixpath.normpath(name.replace("\\", "/").lstrip("/") or ".")
        if clean == ".." or clean.startswith("../"):
            self.outside.append(name)
        else:
            self.members[clean] = member  # of two with one name the last counts, as for those who unpack it

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {name.casefold(): name for name in reversed(self.members)}

    def find(self, name: str) -> str | None:
        """The name of a member, also where it differs only in upper and lower case."""
        return name if name in self.members else self._spellings.get(name.casefold())

    @cached_property
    def folders(self) -> dict[str, tuple[list[str], list[str]]]:
        """The names of members and of folders by the folder that they are in ("": the archive); not of deep ones."""
        found: dict[str, tuple[list[str], list[str]]] = {"": ([], [])}
        for member in self.members:
            if member.count("/") > _MOST_LEVELS or len(member) > _LONGEST_LISTED:
                continue
            inner, name, kind = *posixpath.split(member), 0
            while inner not in found:
                found[inner] = ([], [])
                found[inner][kind].append(name)
                inner, name, kind = *posixpath.split(inner), 1
            found[inner][kind].append(name)
        return found

    @abstractmethod
    def size(self, name: str) -> int:
        """The bytes that a member declares to have."""

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member; MemberError says why it cannot be read."""
        try:
            with self._open(name) as stream:
                yield stream
        except _DAMAGE as error:
            raise MemberError("corrupt_file", f"{name}: damaged in the archive ({error})") from error

    @abstractmethod
    def _open(self, name: str) -> IO[bytes]: ...


def _check_count(members: int) -> None:
    """Folders, and several members of one name, count too."""
    if members > MOST_MEMBERS:
        raise ArchiveError(f"more than {MOST_MEMBERS:,} members; divide it, or unpack it into a folder")


class _Zip(Archive):
    def __init__(self, file: IO[bytes]):
        super().__init__()
        self._file = zipfile.ZipFile(file)
        _check_count(len(self._file.infolist()))
        for info in self._file.infolist():
            if not info.is_dir():
                self._add(info.filename, info)

    def size(self, name: str) -> int:
        return self.members[name].file_size

    def _open(self, name: str) -> IO[bytes]:
        info: zipfile.ZipInfo = self.members[name]
        if info.flag_bits & 1:
            raise MemberError("unreadable", f"{name}: encrypted; pack the archive without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others expand without a limit
            raise MemberError("unsupported", f"{name}: compression method {info.compress_type}; pack it with deflate")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise MemberError("not_a_file", f"{name}: a link in the archive; pack the file itself")
        return self._file.open(info)


class _Tar(Archive):
    def __init__(self, file: IO[bytes]):
        super().__init__()
        self._file = tarfile.open(fileobj=file, mode="r:")
        last = -1
        for number, info in enumerate(self._file, 1):
            _check_count(number)
            if info.offset <= last:  # a member of negative size, which would be read for ever
                raise ArchiveError("damaged: a member stands before the one that it follows")
            last = info.offset
            if not info.isdir():
                self._add(info.name, info)

    def size(self, name: str) -> int:
        return self.members[name].size

    def _open(self, name: str) -> IO[bytes]:
        info: tarfile.TarInfo = self.members[name]
        if not info.isreg():
            kind = "a link" if info.issym() or info.islnk() else "not a file"
            raise MemberError("not_a_file", f"{name}: {kind} in the archive; pack the file itself")
        stream = self._file.extractfile(info)
        if stream is None or info.size < 0:
            raise MemberError("corrupt_file", f"{name}: damaged in the archive")
        return stream


# zipfile and tarfile raise many kinds of errors for damaged archives
_DAMAGE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, struct.error, DamagedGzip, ValueError,
    IndexError, KeyError, RuntimeError, OverflowError, NotImplementedError,
)  # fmt: skip


def open_archive(path: str) -> Archive:
    """Open an archive of the local disk, and read which members it has.

    It stays open while it does not change. What cannot be read is not tried again for each of its rows.
    """
    found = os.stat(path)
    opened = _opened(path, found.st_size, found.st_mtime_ns)
    if isinstance(opened, str):
        raise ArchiveError(opened)
    return opened


@lru_cache(maxsize=4)
def _opened(path: str, size: int, moment: int) -> Archive | str:
    """The archive, or why it cannot be read."""
    # Without O_NONBLOCK, to open a pipe would wait for ever.
    file = _LimitedFile(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return "not a regular file"
    try:
        if path.lower().endswith(".zip"):
            return _Zip(file)
        if path.lower().endswith(".tar"):
            return _Tar(file)
        return _Tar(cast(IO[bytes], Gunzipped(file, _SLACK + _MOST_EXPANDED * size, _LARGEST_READ)))
    except ArchiveError as error:
        return str(error)
    except TooLongGzip as error:
        return f"{error}: more than {_MOST_EXPANDED} times its size; unpack it yourself"
    except _DAMAGE as error:
        return f"damaged, or not an archive of its ending ({error})"

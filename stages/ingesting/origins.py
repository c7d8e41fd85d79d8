"""Read a mesh and its companions from a local folder, from an object store through fsspec, or from a web server.

Every origin limits the bytes that it reads, and checks the limit before it takes memory. Companions are read by names
relative to the mesh's own folder, which `stages/meshes/references.py` has checked; the local origin also refuses links
that lead out of the folder. A companion that cannot be had, whether it is absent, not a file or not permitted, is
missing.
"""

from __future__ import annotations

import errno
import http.client
import os
import posixpath
import stat
import unicodedata
import urllib.error
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from manifests.addresses import AddressError, open_files
from manifests.web import PrivateAddress, RedirectRefused, Web, encoded
from stages.contract.stage import StageError
from stages.meshes.formats import ENDINGS

if TYPE_CHECKING:
    from manifests.records import SeenFile

_CHUNK = 1 << 20
_MOST_LEVELS = 5  # of folders in which a file is looked for by its name
_MOST_LISTED = 10_000  # names in them
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM}


class Origin(ABC):
    """A mesh file and its folder. `files` lists the local files that were looked for: path, size and time."""

    name: str  # of the mesh in the folder that has its companions

    def __init__(self, name: str, max_bytes: int):
        self.name = name
        self.max_bytes = max_bytes
        self.bytes_read = 0
        self.files: list[SeenFile] = []

    @abstractmethod
    def main(self) -> bytes:
        """Read the mesh file itself."""

    @abstractmethod
    def companion(self, name: str) -> bytes | None:
        """Read a file in the mesh's folder; None if it does not exist."""

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """The names of the files and of the folders in a folder below the mesh's own ("" is that); links are neither.

        Without any where folders cannot be listed.
        """
        return [], []

    def nearest(self, names: set[str]) -> list[str]:
        """Files in the mesh's folder and below it with one of these names, whatever the case; the nearest first."""
        wanted = {_spelling(name) for name in names}
        found = [path for path in self._below if _spelling(posixpath.basename(path)) in wanted]
        return sorted(found, key=lambda path: (path.count("/"), posixpath.basename(path) not in names, path))

    @cached_property
    def _below(self) -> list[str]:
        """The files in the mesh's folder and below it, within limits. A folder with meshes belongs to these."""
        found: list[str] = []
        folders, listed = [""], 0
        for _ in range(_MOST_LEVELS):
            following: list[str] = []
            for folder in folders:
                if listed > _MOST_LISTED:
                    return found
                files, inner = self.listing(folder)
                listed += 1 + len(files) + len(inner)
                if not folder or not any(name.lower().endswith(ENDINGS) for name in files):
                    found += [posixpath.join(folder, name) for name in sorted(files)]
                    following += [posixpath.join(folder, name) for name in sorted(inner) if not name.startswith(".")]
            folders = following
        return found

    def check_size(self, size: int, name: str) -> None:
        """Refuse a file that would exceed max_bytes, before it is read."""
        if self.bytes_read + size > self.max_bytes:
            raise StageError(
                "too_large",
                f"the mesh has {self.bytes_read + size:,} bytes with {name}; max_bytes is {self.max_bytes:,}",
            )

    def read_all(self, stream: IO[bytes], name: str) -> bytes:
        """Read a stream to its end within max_bytes, whatever size it declared."""
        chunks: list[bytes] = []
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            self.check_size(size, name)
            chunks.append(chunk)
        self.bytes_read += size
        return b"".join(chunks)


def _spelling(name: str) -> str:
    """The name without case, and with accents as one character, which macOS writes as two."""
    return unicodedata.normalize("NFC", name).casefold()


class _NotAFile(Exception):
    """A folder, a pipe, a socket or a device."""


class LocalOrigin(Origin):
    """A mesh and the files in its folder, or in the folder above that a `/./` in its path marks."""

    def __init__(self, path: str, max_bytes: int):
        above = os.path.abspath(path.partition("/./")[0])
        self.path = os.path.abspath(path)
        self.folder = above if self.path.startswith(os.path.join(above, "")) else os.path.dirname(self.path)
        super().__init__(os.path.relpath(self.path, self.folder), max_bytes)
        self._inside = os.path.join(os.path.realpath(self.folder), "")
        self._listings: dict[str, dict[str, list[str]]] = {}  # names in a folder, by how they read without case

    def main(self) -> bytes:
        try:
            return self._read(self.path)
        except FileNotFoundError:
            self.files.append((self.path, None, None))
            raise StageError("not_found", f"{self.path}: no such file") from None
        except _NotAFile as error:
            raise StageError("not_a_file", f"{self.path} {error}") from None
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte in it
            self.files.append((self.path, None, None))
            raise StageError("unreadable", f"{self.path}: {getattr(error, 'strerror', error)}") from None

    def companion(self, name: str) -> bytes | None:
        path = os.path.join(self.folder, *PurePosixPath(name).parts)
        self._check_inside(os.path.realpath(path), name)  # before anything is opened
        try:
            return self._read(path, companion=name)
        except _NotAFile:
            return None
        except OSError as error:
            self.files.append((path, None, None))
            if error.errno not in _MISSING:
                raise StageError("unreadable", f"{path}: {error.strerror or error}") from None
        spelled = self._other_spelling(name)
        return self.companion(spelled) if spelled not in (None, name) else None

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        try:
            with os.scandir(os.path.join(self.folder, folder)) as entries:
                found = list(entries)
        except OSError:  # it may not be listed
            return [], []
        files = [entry.name for entry in found if entry.is_file(follow_symlinks=False)]
        return files, [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]

    def _other_spelling(self, name: str) -> str | None:
        """The name of a file that differs only in upper and lower case, which many systems do not distinguish."""
        folder, parts = self.folder, []
        for part in PurePosixPath(name).parts:
            self._check_inside(os.path.realpath(folder), name)
            if folder not in self._listings:
                self._listings[folder] = _by_lower_case(folder)
            found = self._listings[folder].get(part.casefold(), [])
            if not found:
                return None
            parts.append(part if part in found else found[0])
            folder = os.path.join(folder, parts[-1])
        return "/".join(parts)

    def _check_inside(self, real: str, name: str) -> None:
        if not os.path.join(real, "").startswith(self._inside):
            detail = f"{self.name} refers to {name!r}, a link that leads out of its own folder"
            raise StageError("external_reference", detail)

    def _read(self, path: str, companion: str = "") -> bytes:
        """Read a regular file. What is checked is what is read: the name may mean another file a moment later.

        It is first opened as a mere place (O_PATH), which neither waits for a pipe nor wakes a device, and is then read
        through that place.
        """
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            status, real = os.fstat(place), f"/proc/self/fd/{place}"
            if companion:
                self._check_inside(os.readlink(real), companion)
            if not stat.S_ISREG(status.st_mode):
                self.files.append((path, status.st_size, status.st_mtime_ns))
                raise _NotAFile("is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
            with open(real, "rb") as file:
                self.files.append((path, status.st_size, status.st_mtime_ns))
                self.check_size(status.st_size, path)
                return self.read_all(file, path)
        finally:
            os.close(place)


def _by_lower_case(folder: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    try:
        for name in sorted(os.listdir(folder)):
            names.setdefault(name.casefold(), []).append(name)
    except OSError:  # not a folder, or one that may not be listed
        return {}
    return names


class RemoteOrigin(Origin):
    """A file in an object store."""

    def __init__(self, uri: str, max_bytes: int):
        super().__init__(PurePosixPath(urlsplit(uri).path).name or uri.rsplit("/", 1)[-1], max_bytes)
        self.uri = uri
        self.folder = uri.rsplit("/", 1)[0]

    def main(self) -> bytes:
        try:
            return self._read(self.uri)
        except FileNotFoundError:
            raise StageError("not_found", f"{self.uri}: no such file") from None
        except PermissionError as error:
            raise StageError("unreadable", f"{self.uri}: {error}") from None

    def companion(self, name: str) -> bytes | None:
        try:
            return self._read(f"{self.folder}/{name}")
        except (FileNotFoundError, PermissionError, AddressError):
            return None

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        uri = f"{self.folder}/{folder}".rstrip("/")
        try:
            files, path = open_files(uri)
            found = files.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError, PermissionError, AddressError):
            return [], []
        except Exception as error:  # every scheme raises errors of its own
            raise StageError("fetch_failed", f"{uri}: {_line(error)}", transient=True) from None
        names = {
            kind: [posixpath.basename(entry["name"].rstrip("/")) for entry in found if entry["type"] == kind]
            for kind in ("file", "directory")
        }
        return names["file"], names["directory"]

    def _read(self, uri: str) -> bytes:
        try:
            files, path = open_files(uri)
            about = files.info(path)
            if about["type"] != "file":
                raise StageError("not_a_file", f"{uri} is a {about['type']}")
            self.check_size(about.get("size") or 0, uri)
            with files.open(path, "rb") as stream:
                return self.read_all(stream, uri)
        except (FileNotFoundError, PermissionError, StageError, AddressError):
            raise
        except (ImportError, ValueError) as error:  # the scheme's library is not installed, or no name of a bucket
            raise StageError("unreadable", f"{uri}: {error}") from None
        except Exception as error:  # every scheme raises errors of its own
            raise StageError("fetch_failed", f"{uri}: {_line(error)}", transient=True) from None


class WebOrigin(Origin):
    def __init__(self, url: str, max_bytes: int, web: Web):
        super().__init__(unquote(PurePosixPath(urlsplit(url).path).name), max_bytes)
        self.url = encoded(url)
        self.web = web
        self.folder = self.url.split("?", 1)[0].split("#", 1)[0].rsplit("/", 1)[0]

    def main(self) -> bytes:
        try:
            return self._read(self.url, follow=True)
        except FileNotFoundError:
            raise StageError("not_found", f"{self.url}: the server has no such file") from None
        except PermissionError as error:
            raise StageError("unreadable", f"{self.url}: {error}") from None

    def companion(self, name: str) -> bytes | None:
        try:
            return self._read(f"{self.folder}/{quote(name)}", follow=False)
        except (FileNotFoundError, PermissionError):
            return None

    def _read(self, url: str, follow: bool) -> bytes:
        try:
            with self.web.open(url, follow) as answer:
                length = answer.headers.get("Content-Length", "")
                declared = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
                self.check_size(declared, url)
                data = self.read_all(answer, url)
                if len(data) < declared:
                    raise StageError("fetch_failed", f"{url}: the connection ended early", transient=True)
                return data
        except urllib.error.HTTPError as error:
            if error.code in (404, 410, 414):
                raise FileNotFoundError(error.code) from None
            if error.code in (401, 403):
                raise PermissionError(f"HTTP {error.code}") from None
            busy = error.code >= 500 or error.code in (408, 425, 429)
            raise StageError("fetch_failed", f"{url}: HTTP {error.code}", transient=busy) from None
        except PrivateAddress as error:
            raise StageError("address_not_allowed", str(error)) from None
        except RedirectRefused as error:
            raise StageError("external_reference", str(error)) from None
        except (http.client.InvalidURL, ValueError) as error:  # an invalid port or host, also of a redirect
            raise StageError("unreadable", f"{url}: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise StageError("fetch_failed", f"{url}: {_line(error)}", transient=True) from None


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

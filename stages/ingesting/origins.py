"""Read a mesh and its companions from a local folder, from an object store through fsspec, or from a web server.

Every origin limits the bytes that it reads, and checks the limit before it takes memory. Companions are read by names
relative to the mesh's own folder, which `stages/meshes/references.py` has checked; the local origin also refuses links
that lead out of the folder.
"""

from __future__ import annotations

import http.client
import os
import re
import stat
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from stages.contract.stage import StageError

if TYPE_CHECKING:
    from manifests.records import SeenFile

_CHUNK = 1 << 20
# characters that are not allowed in the path or query of a URL
_FOREIGN = re.compile(r"[^\w.~!$&'()*+,;=:@/?%-]|%(?![0-9A-Fa-f]{2})", re.ASCII)


class Origin(ABC):
    """A mesh file and its folder. `files` lists the local files that were looked for: path, size and time."""

    name: str  # the mesh's file name, for messages and for its ending

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

    def check_size(self, size: int, name: str) -> None:
        """Refuse a file that would exceed max_bytes, before it is read."""
        if self.bytes_read + size > self.max_bytes:
            raise StageError(
                "too_large",
                f"the mesh has {self.bytes_read + size:,} bytes with {name}; max_bytes is {self.max_bytes:,}",
            )

    def read_all(self, stream: BinaryIO, name: str) -> bytes:
        """Read a stream to its end within max_bytes, whatever size it declared."""
        chunks: list[bytes] = []
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            self.check_size(size, name)
            chunks.append(chunk)
        self.bytes_read += size
        return b"".join(chunks)


class LocalOrigin(Origin):
    def __init__(self, path: str, max_bytes: int):
        super().__init__(os.path.basename(path), max_bytes)
        self.path = os.path.abspath(path)
        self.folder = os.path.dirname(self.path)
        self._listings: dict[str, list[str]] = {}

    def main(self) -> bytes:
        try:
            return self._read(self.path)
        except FileNotFoundError:
            self.files.append((self.path, None, None))
            raise StageError("not_found", f"{self.path}: no such file") from None
        except IsADirectoryError:
            raise StageError("not_a_file", f"{self.path} is a folder") from None
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte in it
            self.files.append((self.path, None, None))
            raise StageError("unreadable", f"{self.path}: {error}") from None

    def companion(self, name: str) -> bytes | None:
        path = os.path.join(self.folder, *PurePosixPath(name).parts)
        self._check_inside(path, name)
        try:
            return self._read(path)
        except IsADirectoryError:
            return None
        except (FileNotFoundError, NotADirectoryError):
            self.files.append((path, None, None))
        except OSError as error:
            self.files.append((path, None, None))
            raise StageError("unreadable", f"{path}: {error.strerror or error}") from None
        spelled = self._other_spelling(name)
        return self.companion(spelled) if spelled not in (None, name) else None

    def _other_spelling(self, name: str) -> str | None:
        """The name of a file that differs only in upper and lower case, which many systems do not distinguish."""
        folder, parts = self.folder, []
        for part in PurePosixPath(name).parts:
            self._check_inside(folder, name)
            if folder not in self._listings:
                self._listings[folder] = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
            found = [entry for entry in self._listings[folder] if entry.casefold() == part.casefold()]
            if not found:
                return None
            parts.append(part if part in found else found[0])
            folder = os.path.join(folder, parts[-1])
        return "/".join(parts)

    def _check_inside(self, path: str, name: str) -> None:
        inside = os.path.join(os.path.realpath(self.folder), "")
        if not os.path.join(os.path.realpath(path), "").startswith(inside):
            detail = f"{self.name} refers to {name!r}, a link that leads out of its own folder"
            raise StageError("external_reference", detail)

    def _read(self, path: str) -> bytes:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would block forever
            self.files.append((path, status.st_size, status.st_mtime_ns))
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            raise StageError("not_a_file", f"{path} is not a regular file")
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            self.files.append((path, status.st_size, status.st_mtime_ns))
            self.check_size(status.st_size, path)
            return self.read_all(file, path)


class RemoteOrigin(Origin):
    """A file behind any fsspec scheme."""

    def __init__(self, uri: str, max_bytes: int):
        super().__init__(PurePosixPath(urlsplit(uri).path).name or uri.rsplit("/", 1)[-1], max_bytes)
        self.uri = uri
        self.folder = uri.rsplit("/", 1)[0]

    def main(self) -> bytes:
        data = self._read(self.uri)
        if data is None:
            raise StageError("not_found", f"{self.uri}: no such file")
        return data

    def companion(self, name: str) -> bytes | None:
        return self._read(f"{self.folder}/{name}")

    def _read(self, uri: str) -> bytes | None:
        import fsspec

        try:
            files, path = fsspec.core.url_to_fs(uri)
            about = files.info(path)
            if about["type"] != "file":
                raise StageError("not_a_file", f"{uri} is a {about['type']}")
            self.check_size(about.get("size") or 0, uri)
            with files.open(path, "rb") as stream:
                return self.read_all(stream, uri)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise StageError("unreadable", f"{uri}: {error}") from None
        except (ImportError, ValueError) as error:  # no such scheme, or its library is not installed
            raise StageError("unreadable", f"{uri}: {error}") from None
        except StageError:
            raise
        except Exception as error:  # every scheme raises errors of its own
            raise StageError("fetch_failed", f"{uri}: {_line(error)}", transient=True) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects of the mesh itself, to http(s) only, and none of a companion."""

    def __init__(self, follow: bool):
        self.follow = follow

    def redirect_request(self, request: Any, stream: Any, code: int, message: str, headers: Any, url: str) -> Any:
        if self.follow and urlsplit(url).scheme in ("http", "https"):
            return super().redirect_request(request, stream, code, message, headers, url)
        raise StageError("external_reference", f"{request.full_url} redirects to {url}")


class WebOrigin(Origin):
    def __init__(self, url: str, max_bytes: int, timeout_seconds: float):
        super().__init__(unquote(PurePosixPath(urlsplit(url).path).name), max_bytes)
        self.url = _encoded(url)
        self.timeout_seconds = timeout_seconds
        self.folder = self.url.split("?", 1)[0].split("#", 1)[0].rsplit("/", 1)[0]

    def main(self) -> bytes:
        data = self._read(self.url, follow=True)
        if data is None:
            raise StageError("not_found", f"{self.url}: the server has no such file")
        return data

    def companion(self, name: str) -> bytes | None:
        return self._read(f"{self.folder}/{quote(name)}", follow=False)

    def _read(self, url: str, follow: bool) -> bytes | None:
        opener = urllib.request.build_opener(_Redirects(follow))
        try:
            with opener.open(url, timeout=self.timeout_seconds) as answer:
                declared = answer.headers.get("Content-Length", "")
                self.check_size(int(declared) if declared.isdigit() else 0, url)
                data = self.read_all(answer, url)
                if declared.isdigit() and len(data) < int(declared):
                    raise StageError("fetch_failed", f"{url}: the connection ended early", transient=True)
                return data
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                return None
            if error.code in (401, 403):
                raise StageError("unreadable", f"{url}: HTTP {error.code}") from None
            busy = error.code >= 500 or error.code in (408, 425, 429)
            raise StageError("fetch_failed", f"{url}: HTTP {error.code}", transient=busy) from None
        except (http.client.InvalidURL, UnicodeError) as error:  # an invalid port or host
            raise StageError("unreadable", f"{url}: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise StageError("fetch_failed", f"{url}: {_line(error)}", transient=True) from None


def _encoded(url: str) -> str:
    """Percent-encode the characters that are not allowed in a URL; what is encoded already stays."""
    parts = urlsplit(url)
    path, query = (_FOREIGN.sub(lambda found: quote(found[0]), part) for part in (parts.path, parts.query))
    return parts._replace(path=path, query=query).geturl()


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
